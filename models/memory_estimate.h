// What a network needs, before it runs.
#pragma once

#include "models/classifier.h"
#include "models/unet.h"

namespace diffscm {

// In bytes: the weights; and, each with all that lives beside it (on the cpu the program too), an
// evaluation (of a classifier, log p's gradient in the images) and a training step, plain and with
// --recompute.
struct MemoryEstimate {
  double weights = 0, evaluation = 0, training = 0, training_recompute = 0;
};

// Found by a dry run, which computes nothing and takes no memory; of the cuda target without a
// device, as emu takes memory in the same way. `layers`: f32 or bf16.
MemoryEstimate estimate_memory(const UNetConfig& config, int64_t batch, Target target,
                               Dtype layers);
MemoryEstimate estimate_memory(const ClassifierConfig& config, int64_t batch, Target target,
                               Dtype layers);

}  // namespace diffscm
