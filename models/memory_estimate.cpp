#include "models/memory_estimate.h"

#include "engine/dry_run.h"
#include "engine/io/file.h"
#include "engine/memory.h"

namespace diffscm {
namespace {

// What a run touches of the program, its threads and files that this process has not: measured.
constexpr double kTouched = 11 << 20;

template <class Network>
MemoryEstimate estimate(const typename Network::Config& config, int64_t batch, Target device,
                        Dtype layers) {
  const Target target = device == Target::cuda ? Target::emu : device;
  const double program = target == Target::cpu ? io::resident_bytes() + kTouched : 0;
  const int64_t others = memory_statistics(target).in_use_bytes;
  const auto held = [&](auto&& work) {
    release_cached_memory(target);
    reset_peak_memory(target);
    work();
    return program + static_cast<double>(memory_statistics(target).peak_held_bytes - others);
  };
  const DryRun dry;
  Network network(config, ShapesOnly{});
  network.set_precision(layers);
  for (const auto& [name, p] : named_parameters(network))
    if (!p->variable) p->variable = Variable(Tensor(p->variable.shape(), target));
  MemoryEstimate memory;
  memory.weights = static_cast<double>(memory_statistics(target).in_use_bytes - others);
  const Tensor x({batch, config.image_size, config.image_size, config.in_channels}, target);
  const Tensor t({batch}, target), labels({batch}, target, Dtype::i64);
  constexpr bool kClassifies = std::is_same_v<Network, Classifier>;
  memory.evaluation = held([&] {
    if constexpr (kClassifies)
      network.log_p_gradient(x, t, labels);
    else
      network.predict(x, t);
  });
  for (const auto& [name, p] : named_parameters(network))
    p->variable = Variable::leaf(p->variable.value());
  const auto step = [&](bool recompute) {
    const double bytes = held([&] {
      ForwardContext context;
      context.training = true;
      context.recompute = recompute;
      Variable loss;
      if constexpr (kClassifies) {
        loss = log_softmax_at(network.forward(x, t, context), labels);
      } else {
        const auto out = network.estimates(x, t, context);
        loss = mse_loss(out.eps, x);
        if (out.v)
          loss = add(loss,
                     variational_bound(out.eps.value(), out.v, x, x, Tensor({batch, 4}, target)));
      }
      backward(loss, Tensor({batch}, target));
    });
    for (const auto& [name, p] : named_parameters(network)) p->variable.clear_gradient();
    return bytes + 4 * memory.weights;  // the optimiser's gradients, two moments and average
  };
  memory.training_recompute = step(true);
  memory.training = step(false);
  return memory;
}

}  // namespace

MemoryEstimate estimate_memory(const UNetConfig& config, int64_t batch, Target target,
                               Dtype layers) {
  return estimate<UNet>(config, batch, target, layers);
}

MemoryEstimate estimate_memory(const ClassifierConfig& config, int64_t batch, Target target,
                               Dtype layers) {
  return estimate<Classifier>(config, batch, target, layers);
}

}  // namespace diffscm
