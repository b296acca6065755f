// Programmatic dependent launch: a kernel that may start before the one ahead of it is done has to
// wait for it before it touches global memory, and before it ends.
#include <cstdlib>
#include <string_view>

#include "tests/softgpu/ptx_support.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

constexpr char kHasNotWaited[] = "has not waited for it: begin it with follow_previous_kernel()";
const std::string kFollow = "griddepcontrol.wait; griddepcontrol.launch_dependents;\n";

void expect_early_error(const std::string& body, const std::string& message,
                        const std::string& module_scope = {}) {
  SCOPED_TRACE(body);
  const Stage early{.shape = {.block = {32}, .dynamic_shared_bytes = 512, .early = true},
                    .more = module_scope};
  expect_error(body, message, early);
  // The same kernel in its turn, or after the wait, may.
  if (message != kHasNotWaited) return;
  Stage in_turn = early;
  in_turn.shape.early = false;
  EXPECT_EQ(error_of([&] { run_ptx(body, std::vector<uint32_t>(64), in_turn); }), "");
  EXPECT_EQ(error_of([&] { run_ptx(kFollow + body, std::vector<uint32_t>(64), early); }), "");
}

TEST(PtxFollow, GlobalMemoryBeforeTheWait) {
  expect_early_error("ld.global.u32 %r0, [%d62];", kHasNotWaited);
  expect_early_error("ld.u32 %r0, [%d62];", kHasNotWaited);
  expect_early_error("st.global.u32 [%d63], %r62;", kHasNotWaited);
  expect_early_error("atom.global.add.u32 %r0, [%d61], 1;", kHasNotWaited);
  expect_early_error("cp.async.ca.shared.global [dynamic], [%d62], 4; cp.async.wait_all;",
                     kHasNotWaited);
  expect_early_error("mov.u64 %d0, flag; ld.global.u32 %r0, [%d0];", kHasNotWaited,
                     ".global .align 4 .u32 flag = 1;");
}

TEST(PtxFollow, EachThreadWaitsForItself) {
  expect_early_error(R"(
    setp.lt.u32 %p0, %r62, 16;
    @%p0 griddepcontrol.wait;
    st.global.u32 [%d63], %r62;)",
                     "thread (16, 0, 0): st.global.u32: the kernel may start");
}

TEST(PtxFollow, EndsBeforeTheWait) {
  expect_early_error("", "ret: the kernel may start before the one ahead of it is done, and ends");
  expect_early_error(R"(
    setp.eq.u32 %p0, %r62, 7;
    @%p0 exit;
    griddepcontrol.wait;)",
                     "thread (7, 0, 0): exit: the kernel may start");
}

TEST(PtxFollow, LoadsThatDoNotSeeWhatWasJustWritten) {
  const std::string load = kFollow + "ld.global.nc.u32 %r0, [%d62];";
  expect_early_error(load, "ld.global.nc.u32: the kernel may start early");
  EXPECT_EQ(error_of([&] { run_ptx(load, std::vector<uint32_t>(64)); }), "");
}

TEST(PtxFollow, WhatIsItsOwnBeforeTheWait) {
  const std::vector<uint32_t> out =
      run_ptx(R"(
    mov.u64 %d0, seven; ld.const.u32 %r0, [%d0];
    st.shared.u32 [dynamic], %r0; bar.sync 0; ld.shared.u32 %r1, [dynamic];
    griddepcontrol.wait;
    griddepcontrol.launch_dependents;
    ld.global.u32 %r2, [%d62];
    add.u32 %r2, %r2, %r1;
    st.global.u32 [%d63], %r2;)",
              std::vector<uint32_t>(32, 2),
              {.shape = {.block = {32}, .dynamic_shared_bytes = 16, .early = true},
               .more = ".const .align 4 .u32 seven = 7;"});
  EXPECT_EQ(out, std::vector<uint32_t>(32, 9));
}

class Follow : public SoftGpu {
 protected:
  cudaError_t launch_early(const void* kernel, float* x) const {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    void* args[] = {&x};
    cudaLaunchConfig_t config{};
    config.gridDim = 1;
    config.blockDim = 2;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaLaunchKernelExC(&config, kernel, args);
  }
  static bool has_early_starts() {
    int major = 0;
    ok(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    return major >= 9;
  }
};

TEST_F(Follow, RunsAndReplaysInOrder) {
  float* x = device({1, 2});
  for (int i = 0; i < 3; ++i) ok(launch_early(kFollowing, x));
  EXPECT_EQ(host(x, 2), (std::vector<float>{8, 16}));
  begin();
  ok(launch_early(kFollowing, x));
  ok(cudaMemsetAsync(x + 1, 0, 4, stream));
  ok(launch_early(kFollowing, x));
  const cudaGraphExec_t graph = end();
  for (int i = 0; i < 2; ++i) ok(cudaGraphLaunch(graph, stream));
  EXPECT_EQ(host(x, 2), (std::vector<float>{128, 0}));
}

TEST_F(Follow, AKernelThatDoesNotWait) {
  ok(launch_early(kAtOnce, device({1, 2})));
  const cudaError_t status = cudaStreamSynchronize(stream);
  EXPECT_EQ(status, cudaErrorLaunchFailure);
  const std::string text = cudaGetErrorString(status);
  for (const char* part : {"at_once", "kernels.cu:61", kHasNotWaited})
    EXPECT_NE(text.find(part), text.npos) << text;
}

TEST_F(Follow, AKernelThatDoesNotWaitWhenReplayed) {
  float* x = device({1, 2});
  begin();
  ok(launch_early(kAtOnce, x));
  ok(cudaGraphLaunch(end(), stream));
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure, kHasNotWaited);
}

TEST_F(Follow, AttributesThatThisDeviceDoesNotKnow) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = 1;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  float* x = allocate(1);
  void* args[] = {&x};
  expect_refused(cudaLaunchKernelExC(&config, kFollowing, args), cudaErrorNotSupported,
                 "attribute 2");
}

// kernels/cuda/device/launch.h, also with DIFFSCM_OVERLAP=0 and on an A100 (tests.cmake).
TEST_F(Follow, OurLaunches) {
  float* x = device({1, 2});
  launch_following(x, stream);
  EXPECT_EQ(host(x, 2), (std::vector<float>{2, 4}));
  launch_at_once(x, stream);
  const char* overlap = std::getenv("DIFFSCM_OVERLAP");
  if (has_early_starts() && (overlap == nullptr || std::string_view(overlap) != "0")) {
    expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure, kHasNotWaited);
  } else {
    EXPECT_EQ(host(x, 2), (std::vector<float>{4, 8}));
  }
}

TEST_F(Follow, BeforeHopper) {
  if (has_early_starts()) GTEST_SKIP() << "tests.cmake runs it on an A100";
  expect_refused(launch_early(kFollowing, allocate(2)), cudaErrorNotSupported,
                 "from compute capability 9.0 on, this device has 8.0");
}

}  // namespace
}  // namespace diffscm::softgpu::test
