// Steps recorded once and replayed: what changes from replay to replay is read from the target's
// memory, and every replay gives the bits that direct calls give.
#include "tests/kernels/support.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// A step of guided sampling and one of training on arrays of their own.
struct Steps {
  static constexpr int64_t kImages = 3, kElements = 50, kParameters = 200;

  const Device& d;
  Array<const int64_t> index;
  Array<const float> eps, gradient;
  Array<float> x, noise, quantile, normed, mean, rstd, p, m, v, ema, copied;
  // What a host writes between replays.
  Array<double> levels, schedule;
  Array<uint32_t> step_number;

  explicit Steps(const Device& device)
      : d(device),
        index(d.input(std::vector<int64_t>{4, 5, 9})),
        eps(d.input(random_floats(kImages * kElements, 1))),
        gradient(d.input(random_floats(kParameters, 2))),
        x(d.inout(random_floats(kImages * kElements, 3))),
        noise(d.output(kImages * kElements)),
        quantile(d.output(kImages)),
        normed(d.output(kImages * kElements)),
        mean(d.output(kImages * 5)),
        rstd(d.output(kImages * 5)),
        p(d.inout(random_floats(kParameters, 4))),
        m(d.inout(Floats(kParameters))),
        v(d.inout(Floats(kParameters))),
        ema(d.inout(Floats(kParameters))),
        copied(d.output(kImages * kElements)),
        levels(d.output<double>(2)),
        schedule(d.output<double>(4)),
        step_number(d.output<uint32_t>(1)) {}

  struct Numbers {
    double alpha_bar, alpha_bar_next, lr;
    int64_t step;
    double ema_decay;
  };
  static constexpr Numbers kSteps[] = {
      {0.2, 0.4, 1e-3, 1, 0.5}, {0.4, 0.7, 2e-3, 2, 0.9}, {0.7, 0.9, 5e-4, 3, 0.99}};

  void upload(const Numbers& k) {
    const auto t = static_cast<double>(k.step);
    levels.upload({k.alpha_bar, k.alpha_bar_next});
    schedule.upload({k.lr, 1 - std::pow(0.9, t), 1 - std::pow(0.999, t), k.ema_decay});
    step_number.upload({static_cast<uint32_t>(k.step)});
  }

  // With `k` the scalars of the arguments count, without it what upload() wrote.
  void run(const Numbers* k) {
    const bool memory = k == nullptr;
    RandomKey key{7, Purpose::sampler, memory ? 0 : static_cast<uint32_t>(k->step)};
    if (memory) key.step_at = step_number;
    const double a = memory ? -1 : k->alpha_bar, b = memory ? -1 : k->alpha_bar_next;
    const double* at = memory ? levels.data() : nullptr;
    d.table.normal({key, kImages, kElements, index, noise});
    d.table.abs_quantile({kImages, kElements, a, 0.9, x, eps, quantile, at});
    d.table.ddim_update({.n = kImages,
                         .elements = kElements,
                         .alpha_bar = a,
                         .alpha_bar_next = b,
                         .sigma = 0.1,
                         .threshold = Threshold::dynamic,
                         .x = x,
                         .eps = eps,
                         .noise = noise,
                         .quantile = quantile,
                         .levels = at,
                         .out = x});
    key.purpose = Purpose::dropout;
    d.table.group_norm({.n = kImages,
                        .hw = 5,
                        .c0 = 10,
                        .c1 = 0,
                        .groups = 5,
                        .eps = 1e-5f,
                        .silu = true,
                        .dropout = {0.3f, key, 2},
                        .x0 = x,
                        .x1 = nullptr,
                        .gamma = gradient,
                        .beta = gradient + 10,
                        .scale_shift = nullptr,
                        .y = normed,
                        .mean = mean,
                        .rstd = rstd});
    d.table.adamw({.n = kParameters,
                   .step = memory ? 0 : k->step,
                   .lr = memory ? -1 : k->lr,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .eps = 1e-8,
                   .weight_decay = 0.01,
                   .ema_decay = memory ? -1 : k->ema_decay,
                   .gradient_scale = 0.5,
                   .gradient = gradient,
                   .parameter = p,
                   .m = m,
                   .v = v,
                   .ema = ema,
                   .schedule = memory ? schedule.data() : nullptr});
    d.runtime.copy(copied, x, sizeof(float) * kImages * kElements, Copy::within, {});
  }

  std::vector<Floats> state() const {
    return {x.floats(), noise.floats(), quantile.floats(), normed.floats(), p.floats(),
            m.floats(), v.floats(),     ema.floats(),      copied.floats()};
  }
};

void expect_same_states(const Steps& a, const Steps& b, const std::string& what) {
  const std::vector<Floats> as = a.state(), bs = b.state();
  for (size_t i = 0; i < as.size(); ++i)
    expect_same_bits(as[i], bs[i], what + ", array " + std::to_string(i));
}

TARGET_TEST_ON("emu cuda", Recording, ReplaysGiveTheBitsOfDirectCalls) {
  Steps direct(d), recorded(d), untouched(d);
  recorded.upload(Steps::kSteps[0]);
  d.runtime.begin_recording({});
  recorded.run(nullptr);
  const Recording recording = d.runtime.end_recording({});
  expect_same_states(recorded, untouched, "recording runs nothing");
  for (const Steps::Numbers& k : Steps::kSteps) {
    direct.run(&k);
    recorded.upload(k);
    d.runtime.replay(recording, {});
    d.runtime.synchronize({});
    expect_same_states(recorded, direct, "step " + std::to_string(k.step));
  }
  d.runtime.discard(recording);
}

// A copy to or from the host would have to happen at once: it is refused, and the recording goes
// on.
TARGET_TEST_ON("emu cuda", Recording, RefusesTheHost) {
  auto x = d.inout(Floats{1, 2, 3}), y = d.output(3);
  float host[3] = {};
  d.runtime.begin_recording({});
  EXPECT_THROW(d.runtime.copy(host, x, sizeof host, Copy::to_host, {}), Error);
  EXPECT_THROW(d.runtime.copy(x, host, sizeof host, Copy::to_device, {}), Error);
  d.table.silu({3, x, y});
  const Recording recording = d.runtime.end_recording({});
  d.runtime.replay(recording, {});
  expect_close(y, {0.7310585786, 1.7615941560, 2.8577223804}, 1e-6, "silu");
  d.runtime.discard(recording);
}

// Two recordings replayed in turn do not disturb each other (operators share scratch memory).
TARGET_TEST_ON("emu cuda", Recording, TwoInTurn) {
  Steps direct(d), first(d), second(d);
  const auto record = [&](Steps& steps) {
    d.runtime.begin_recording({});
    steps.run(nullptr);
    return d.runtime.end_recording({});
  };
  const Recording a = record(first), b = record(second);
  for (const Steps::Numbers& k : Steps::kSteps) {
    direct.run(&k);
    first.upload(k);
    second.upload(k);
    d.runtime.replay(a, {});
    d.runtime.replay(b, {});
    d.runtime.synchronize({});
    expect_same_states(first, direct, "first, step " + std::to_string(k.step));
    expect_same_states(second, direct, "second, step " + std::to_string(k.step));
  }
  d.runtime.discard(a);
  d.runtime.discard(b);
}

}  // namespace
}  // namespace diffscm::kernels
