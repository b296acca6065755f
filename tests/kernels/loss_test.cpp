// Losses against the double reference, gradients against central differences.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

TARGET_TEST(Mse, MatchesReference) {
  for (const auto [n, elements] : rows_cases()) {
    d.offset = elements % 2;
    const auto prediction = d.input(random_floats(n * elements, 1));
    const auto target = d.input(random_floats(n * elements, 2));
    auto loss = d.output(n), gradient = d.output(n * elements), alone = d.output(n);
    d.table.mse({n, elements, 0.7f, prediction, target, loss, gradient});
    d.table.mse({n, elements, 0.7f, prediction, target, alone, nullptr});
    const auto expected = reference::mse(n, elements, 0.7f, prediction.doubles(), target.doubles());
    expect_close(loss, expected.loss, 1e-7, "mse");
    expect_close(gradient, expected.gradient, 3e-7, "mse gradient");
    expect_same_bits(alone, loss, "mse without gradient");
  }
}

// The sum of 10^6 equal squares: an f32 accumulator would be off by more than is allowed here.
TARGET_TEST(Mse, SumsInDouble) {
  const int64_t n = 1 << 20;
  const auto prediction = d.input(Floats(n, 0.1f)), target = d.input(Floats(n, 0.0f));
  auto loss = d.output(1);
  d.table.mse({1, n, 1, prediction, target, loss, nullptr});
  EXPECT_NEAR(loss.floats()[0], 0.1f * 0.1f, 1e-9);
}

TARGET_TEST(Mse, IsReproducible) {
  const int64_t n = 3, elements = 20011;
  const auto prediction = d.input(random_floats(n * elements, 1));
  const auto target = d.input(random_floats(n * elements, 2));
  expect_reproducible(
      d,
      [&]() -> std::vector<Floats> {
        auto loss = d.output(n), gradient = d.output(n * elements);
        d.table.mse({n, elements, 0.7f, prediction, target, loss, gradient});
        return {loss.floats(), gradient.floats()};
      },
      "mse");
}

TEST(Mse, ReferenceGradientIsTheDerivative) {
  const Doubles prediction = to_double(random_floats(21, 1)),
                target = to_double(random_floats(21, 2));
  check_gradient(
      [&](const Doubles& v) {
        double total = 0;
        for (const double loss : reference::mse(3, 7, 0.5, v, target).loss) total += 0.5 * loss;
        return total;
      },
      prediction, reference::mse(3, 7, 0.5, prediction, target).gradient, "mse");
}

TARGET_TEST(LogSoftmax, MatchesReference) {
  for (const float scale : {1.0f, 50.0f}) {
    for (const int64_t classes : {1, 2, 10, 33, 1000}) {
      const int64_t n = 9;
      std::vector<int64_t> labels;
      for (int64_t i = 0; i < n; ++i) labels.push_back(i * 7 % classes);
      const auto logits = d.input(random_floats(n * classes, 1, scale));
      const auto label = d.input(labels);
      auto log_p = d.output(n), p = d.output(n * classes), gradient = d.output(n * classes);
      d.table.log_softmax({n, classes, -0.5f, logits, label, log_p, p, gradient});
      const auto expected = reference::log_softmax(n, classes, -0.5, logits.doubles(), labels);
      expect_close(log_p, expected.log_p, 1e-6, "log_p");
      expect_close(p, expected.probability, 1e-6, "probability");
      expect_close(gradient, expected.gradient, 1e-6, "gradient");
      auto alone = d.output(n);
      d.table.log_softmax({n, classes, 1, logits, label, alone, nullptr, nullptr});
      expect_same_bits(alone, log_p, "log_p alone");
    }
  }
}

TEST(LogSoftmax, ReferenceGradientIsTheDerivative) {
  const std::vector<int64_t> label = {2, 0, 4};
  const Doubles logits = to_double(random_floats(15, 1, 2));
  check_gradient(
      [&](const Doubles& v) {
        double total = 0;
        for (const double l : reference::log_softmax(3, 5, 1, v, label).log_p) total += 1.5 * l;
        return total;
      },
      logits, reference::log_softmax(3, 5, 1.5, logits, label).gradient, "log_softmax");
}

TARGET_TEST(LogSoftmax, RejectsBadArguments) {
  const auto x = d.input(Floats(4));
  auto out = d.output(4);
  const auto good = d.input(std::vector<int64_t>{1, 0});
  EXPECT_NO_THROW(d.table.log_softmax({2, 2, 1, x, good, out, nullptr, nullptr}));
  EXPECT_THROW(d.table.log_softmax({2, 0, 1, x, good, out, nullptr, nullptr}), Error);
  if (!d.is("cpu")) return;  // on the others labels are the caller's to check
  for (const std::vector<int64_t>& labels : {std::vector<int64_t>{0, 2}, {-1, 0}}) {
    const auto bad = d.input(labels);
    EXPECT_THROW(d.table.log_softmax({2, 2, 1, x, bad, out, nullptr, nullptr}), Error);
  }
}

TARGET_TEST(Mse, RejectsBadArguments) {
  const auto x = d.input(Floats(4));
  auto out = d.output(4);
  EXPECT_THROW(d.table.mse({1, 0, 1, x, x, out, nullptr}), Error);
  EXPECT_THROW(d.table.mse({1, 4, 1, x, nullptr, out, nullptr}), Error);
  EXPECT_NO_THROW(d.table.mse({0, 4, 1, nullptr, nullptr, nullptr, nullptr}));
}

}  // namespace
}  // namespace diffscm::kernels
