// Losses against the double reference, gradients against central differences.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

TEST(Mse, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const auto [n, elements] : rows_cases()) {
      const Floats prediction = random_floats(n * elements, 1),
                   target = random_floats(n * elements, 2);
      Floats loss = poisoned(n), gradient = poisoned(n * elements), alone = poisoned(n);
      table->mse(
          {n, elements, 0.7f, prediction.data(), target.data(), loss.data(), gradient.data()});
      table->mse({n, elements, 0.7f, prediction.data(), target.data(), alone.data(), nullptr});
      const auto expected =
          reference::mse(n, elements, 0.7f, to_double(prediction), to_double(target));
      expect_close(loss, expected.loss, 1e-7, "mse");
      expect_close(gradient, expected.gradient, 3e-7, "mse gradient");
      expect_same_bits(alone, loss, "mse without gradient");
    }
  }
}

// The sum of 10^5 equal squares: an f32 accumulator would be off by more than is allowed here.
TEST(Mse, SumsInDouble) {
  for (const OperatorTable* table : tables()) {
    const int64_t n = 1 << 20;
    const Floats prediction(n, 0.1f), target(n, 0.0f);
    Floats loss = poisoned(1);
    table->mse({1, n, 1, prediction.data(), target.data(), loss.data(), nullptr});
    EXPECT_NEAR(loss[0], 0.1f * 0.1f, 1e-9);
  }
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

TEST(LogSoftmax, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const float scale : {1.0f, 50.0f}) {
      for (const int64_t classes : {1, 2, 10, 33}) {
        const int64_t n = 9;
        const Floats logits = random_floats(n * classes, 1, scale);
        std::vector<int64_t> label;
        for (int64_t i = 0; i < n; ++i) label.push_back(i * 7 % classes);
        Floats log_p = poisoned(n), p = poisoned(n * classes), gradient = poisoned(n * classes);
        table->log_softmax({n, classes, -0.5f, logits.data(), label.data(), log_p.data(), p.data(),
                            gradient.data()});
        const auto expected = reference::log_softmax(n, classes, -0.5, to_double(logits), label);
        expect_close(log_p, expected.log_p, 1e-6, "log_p");
        expect_close(p, expected.probability, 1e-6, "probability");
        expect_close(gradient, expected.gradient, 1e-6, "gradient");
        Floats alone = poisoned(n);
        table->log_softmax(
            {n, classes, 1, logits.data(), label.data(), alone.data(), nullptr, nullptr});
        expect_same_bits(alone, log_p, "log_p alone");
      }
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

TEST(Loss, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    Floats x(4), out(4);
    const std::vector<int64_t> good = {1, 0}, high = {0, 2}, negative = {-1, 0};
    const auto softmax = [&](const std::vector<int64_t>& label) {
      table->log_softmax({2, 2, 1, x.data(), label.data(), out.data(), nullptr, nullptr});
    };
    EXPECT_NO_THROW(softmax(good));
    EXPECT_THROW(softmax(high), Error);
    EXPECT_THROW(softmax(negative), Error);
    EXPECT_THROW(table->log_softmax({2, 0, 1, x.data(), good.data(), out.data(), nullptr, nullptr}),
                 Error);
    EXPECT_THROW(table->mse({1, 0, 1, x.data(), x.data(), out.data(), nullptr}), Error);
    EXPECT_THROW(table->mse({1, 4, 1, x.data(), nullptr, out.data(), nullptr}), Error);
    EXPECT_NO_THROW(table->mse({0, 4, 1, nullptr, nullptr, nullptr, nullptr}));
  }
}

}  // namespace
}  // namespace diffscm::kernels
