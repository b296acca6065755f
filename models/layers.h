// The three kinds of layer everything is built from, and the parameter that they hold.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/functions.h"

namespace diffscm {

// How a parameter is laid out in files, which follow PyTorch, against the engine's layout.
enum class FileLayout {
  same,
  oihw,        // engine [K,R,S,C]  file [K,C,R,S]
  conv1d,      // engine [K,C]      file [K,C,1]
  conv1x1,     // engine [K,C]      file [K,C,1,1]
  transposed,  // engine [T,C]      file [C,T]
};

struct Parameter {
  Variable variable;
  FileLayout layout = FileLayout::same;
};

// Called once per parameter with its dotted name in files ("input_blocks.1.0.in_layers.0.weight").
// One traversal serves counting, saving, strict loading and the optimiser's list.
using ParameterVisitor = std::function<void(const std::string& name, Parameter& parameter)>;

// Throws Error, in the name of a network `who`, unless x is [N, image_size, image_size, channels].
void require_input(const Variable& x, int64_t image_size, int64_t channels, const char* who);

// Asks a network for its parameters' names and shapes, without values or memory for them: to count
// them, and to fill them from a file.
struct ShapesOnly {};

// Draws initial values; parameter i of a model has its own Philox stream, so adding one does not
// change the values of those before it.
class Initializer {
 public:
  Initializer() = default;  // gives shapes only
  explicit Initializer(uint64_t seed) : seed_(seed), draws_(true) {}
  Tensor uniform(Shape shape, double bound);  // U(-bound, bound)
  Tensor normal(Shape shape, double stddev);

 private:
  uint64_t seed_ = 0;
  bool draws_ = false;
  uint64_t next_ = 0;
};

// torch's default: weight and bias ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)). `zero`: both 0.
struct Conv2d {
  Parameter weight, bias;  // [K,R,S,C], [K]
  Conv2dOptions options;

  Conv2d() = default;
  Conv2d(int64_t in, int64_t out, int64_t filter, Initializer& init, Conv2dOptions options = {},
         bool zero = false);
  Variable forward(const Variable& x, const Variable& x1 = {}, const Variable& residual = {}) const;
  // Of a result in another dtype than x: autograd/functions.h.
  Variable forward_as(Dtype result, const Variable& x) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

struct Linear {
  Parameter weight, bias;  // [out,in], [out]

  Linear() = default;
  // FileLayout::conv1d, conv1x1: the file calls this a Conv1d, or Conv2d, of one tap.
  Linear(int64_t in, int64_t out, Initializer& init, FileLayout layout = FileLayout::same,
         bool zero = false);
  Variable forward(const Variable& x, const Variable& residual = {}) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

// What each of the layers makes of x, by one operator.
std::vector<Variable> forward_all(const std::vector<const Linear*>& layers, const Variable& x);

struct GroupNorm {
  Parameter weight, bias;  // [C] each: 1 and 0
  int64_t groups = 32;
  double eps = kUsualEps;  // added to the variance
  static constexpr double kUsualEps = 1e-5;

  GroupNorm() = default;
  explicit GroupNorm(int64_t channels, int64_t groups = 32, double eps = kUsualEps);
  Variable forward(const Variable& x, const Variable& x1 = {}, const Variable& scale_shift = {},
                   bool silu = false, const kernels::Dropout& dropout = {}) const;
  // With SiLU, halved by pooling, and x halved so: autograd/functions.h.
  PooledNorm forward_pooled(const Variable& x) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

// residual + conv(dropout(SiLU(norm(x, x1, scale_shift)))), or with the shortcut's convolution for
// the residual.
Variable convolve_normalised(const GroupNorm& norm, const Conv2d& conv, const Variable& x,
                             const Variable& x1, const Variable& scale_shift = {},
                             const Variable& residual = {}, const kernels::Dropout& dropout = {},
                             const Shortcut& shortcut = {});

// What differs between training and inference: dropout and its random numbers, and what is kept for
// the gradient. One per forward pass.
struct ForwardContext {
  bool training = false;
  uint64_t seed = 0;
  uint32_t step = 0;
  const uint32_t* step_at = nullptr;  // in the target's memory: overrides `step`, as in RandomKey
  int64_t first_image = 0;            // of a batch that is computed part by part
  // Each stage of a U-Net or encoder keeps its input only and is computed again for its gradient.
  bool recompute = false;

  // The dropout of the next layer that asks. rate 0 outside training.
  kernels::Dropout dropout(double rate);

 private:
  uint64_t layer_ = 0;
};

}  // namespace diffscm
