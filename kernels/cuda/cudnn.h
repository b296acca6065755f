// cuDNN's convolutions: a yardstick for ours and an oracle for tests on a GPU, never what a command
// runs by itself. Loaded when the program runs; without cudnn.h at build time, unusable() says so.
#pragma once

#include <string>

#include "kernels/operators.h"

namespace diffscm::kernels::cuda::cudnn {

// Empty: usable. Otherwise one line that says why not. cuDNN 9 is looked for where DIFFSCM_CUDNN
// says (the library file, or its folder) or else on the loader's path, in the CUDA toolkit and in
// Python's packages.
std::string unusable();

// What it can do of kernels/conv2d.h: one input tensor, not enlarged; no bias, no residual.
inline bool supports(const ConvShape& shape) {
  return shape.c1 == 0 && !shape.upsample;
}

enum class Pass { forward, backward_input, backward_weight };
enum class Type { f32, bf16 };

// Layouts as in kernels/conv2d.h, all three tensors of one type, sums in f32. f32 means f32: no
// TF32.
struct Convolution {
  Pass pass;
  ConvShape shape;
  Type type;
  void* x;       // read forward; read backward to weights; written backward to input
  void* weight;  // read forward and backward to input; written backward to weights
  void* y;       // written forward; dy otherwise, read
};

// The first call with a pass, shape and type times cuDNN's algorithms and keeps the fastest: it
// takes a while, overwrites the result several times, and cannot be recorded. Later calls can.
// Throws Error when unusable or not supported.
void run(const Convolution& convolution, Stream stream);

}  // namespace diffscm::kernels::cuda::cudnn
