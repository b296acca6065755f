// Fitting a small network to a table: the loop that the mechanisms with networks share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "models/mlp.h"

namespace diffscm::causal {

struct NetworkFitOptions {
  int64_t steps = 3000, batch = 256;
  double lr = 3e-3;       // falls to 0 along a cosine
  double held_out = 0.1;  // share of the rows that no step sees
  uint64_t seed = 0;
};
// Throws Error naming the value that cannot be used.
void validate(const NetworkFitOptions& options);

// What is fitted. Both functions are about `rows` of the table. `step` tells the draws of one step
// from those of another; the held-out rows are always asked about with kHeldOutStep.
struct NetworkTask {
  static constexpr int64_t kHeldOutStep = -1;
  int64_t rows = 0;
  // Fills inputs [rows, network inputs].
  std::function<void(std::span<const int64_t> rows, int64_t step, std::span<float> inputs)> inputs;
  // The sum over rows of the loss, and its gradient [rows, network outputs] with respect to the
  // outputs, where `gradient` is not empty.
  std::function<double(std::span<const int64_t> rows, int64_t step, std::span<const float> outputs,
                       std::span<float> gradient)>
      loss;
};

struct NetworkFit {
  double loss = 0;        // mean over the held-out rows (over all where none are), of what is kept
  int64_t kept_step = 0;  // after which the weights were best on them
};

// From where a fit goes on that was interrupted.
struct NetworkCheckpoint {
  std::filesystem::path file;       // of this fit alone; empty: none is kept
  std::function<bool()> stop = {};  // true: write it, then ask `progress` once more
};

// After so many of so many steps, with the mean loss since the last call. What it throws ends the
// fit.
using NetworkProgress = std::function<void(int64_t done, int64_t steps, double loss)>;

// AdamW on batches of shuffled rows. The network is left with the moving average of its weights
// that was best on the held-out rows, which were looked at 40 times; with fewer than 50 rows none
// are held out. The checkpoint is written where it is looked at, at most every few seconds, and at
// the end; a fit that finds one goes on there and ends in the same bits. Throws Error when the loss
// stops being finite, and for a checkpoint of another fit.
NetworkFit fit_network(Mlp& network, const NetworkTask& task, const NetworkFitOptions& options,
                       const NetworkProgress& progress = {},
                       const NetworkCheckpoint& checkpoint = {});

// The network on inputs [N, network inputs] -> [N, network outputs], without a tape.
std::vector<float> evaluate(const Mlp& network, std::span<const float> inputs);

// The same, and the gradient of the sum of weights x outputs with respect to the inputs; `weigh`
// is shown the outputs [N, network outputs] and fills in the weights, of the same shape.
struct OutputsAndGradient {
  std::vector<float> outputs, gradient;
};
OutputsAndGradient evaluate_with_gradient(
    const Mlp& network, std::span<const float> inputs,
    const std::function<void(std::span<const float> outputs, std::span<float> weights)>& weigh);

}  // namespace diffscm::causal
