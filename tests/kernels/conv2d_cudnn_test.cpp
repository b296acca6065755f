// Our convolutions on a GPU against cuDNN's, at the batches of training: every layer of the MNIST
// models that cuDNN can do alone. Skipped where there is no GPU or no cuDNN.
#ifdef DIFFSCM_WITH_CUDA
#include "kernels/cuda/cudnn.h"
#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_problem.h"

namespace diffscm::kernels {
namespace {

using namespace test;
namespace cudnn = cuda::cudnn;

// What cuDNN writes: an array like the one that is compared with it.
template <class T, class Ours>
void expect_agreement(const ConvProblem<T>& p, cudnn::Pass pass, const Array<Ours>& ours,
                      const std::string& name) {
  const auto type = std::is_same_v<T, float> ? cudnn::Type::f32 : cudnn::Type::bf16;
  auto theirs = p.d.template output<T>(ours.size());
  // Only one of the three is written.
  void* x = const_cast<T*>(p.x0.data());
  void* weight = const_cast<T*>(p.weight.data());
  void* y = const_cast<T*>(p.dy.data());
  (pass == cudnn::Pass::forward          ? y
   : pass == cudnn::Pass::backward_input ? x
                                         : weight) = theirs.data();
  cudnn::run({pass, p.s, type, x, weight, y}, {});
  // Both were rounded to T, and cuDNN may sum in another order or with Winograd's transforms. Of
  // its weight gradients it adds parts in T, if it finds that fastest.
  const bool parts_in_bf16 = sizeof(T) == 2 && pass == cudnn::Pass::backward_weight;
  expect_close(ours.floats(), theirs.doubles(), parts_in_bf16 ? 3e-2 : 2e-5, name,
               2 * kRounding<T>);
}

TYPED_TARGET_TEST_ON("cuda", Conv2d, AgreesWithCudnn) {
  if (const std::string reason = cudnn::unusable(); !reason.empty()) GTEST_SKIP() << reason;
  for (const auto& model :
       {mnist_fast_conv_shapes(64), mnist_paper_conv_shapes(64), classifier_conv_shapes(64)}) {
    for (const ConvShape& s : model) {
      if (!cudnn::supports(s)) continue;
      const std::string name = ConvCase::name_of(s);
      const ConvProblem<T> p(d, s);
      expect_agreement(p, cudnn::Pass::forward, p.forward(false), name);
      expect_agreement(p, cudnn::Pass::backward_input, p.backward_input().dx0, name + " dx");
      expect_agreement(p, cudnn::Pass::backward_weight, p.backward_weight(false).dweight,
                       name + " dweight");
    }
  }
}

}  // namespace
}  // namespace diffscm::kernels
#endif
