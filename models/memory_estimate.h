// What a network needs on the cpu, before it runs.
#pragma once

#include "models/classifier.h"
#include "models/unet.h"

namespace diffscm {

// In bytes: the weights; and, each with the program and all that lives beside it, an evaluation (of
// a classifier, log p's gradient in the images) and a training step, plain and with --recompute.
struct MemoryEstimate {
  double weights = 0, evaluation = 0, training = 0, training_recompute = 0;
};

// Found by a dry run, which computes nothing and takes no memory.
MemoryEstimate estimate_memory(const UNetConfig& config, int64_t batch);
MemoryEstimate estimate_memory(const ClassifierConfig& config, int64_t batch);

}  // namespace diffscm
