// The GPUs that this device can pass itself off as: what the CUDA runtime says of them, and what a
// prediction of their times needs.
#pragma once

#include <cstddef>
#include <string_view>

namespace diffscm::softgpu {

struct Device {
  const char* name;
  int major, minor;  // compute capability
  int multiprocessors;
  size_t memory_bytes;
  size_t l2_bytes;

  // Per multiprocessor. Source: CUDA C++ Programming Guide, table of technical specifications.
  size_t shared_bytes;            // of all its blocks together, 1 KiB of each reserved
  size_t shared_per_block_bytes;  // at most, if a kernel opted in
  int blocks = 32;
  int threads = 2048;
  int registers = 65536;

  // Source: NVIDIA's data sheets (dense bf16 throughput, memory bandwidth; of the A100 the boost
  // clock). The clocks of H100 and H200 are an H100's under Nsight Compute: the highest, but less
  // where the tensor cores work (bench/results/nvidia-h100-80gb-hbm3/kernels.md).
  double clock_ghz, matrix_clock_ghz;
  double bf16_tflops;
  double memory_gb_per_s;
};

// The limits that all of them share.
inline constexpr int kWarp = 32;
inline constexpr int kMaxThreadsPerBlock = 1024;
inline constexpr int kMaxBlock[] = {1024, 1024, 64};
inline constexpr int kMaxGrid[] = {2147483647, 65535, 65535};
inline constexpr size_t kSharedWithoutAsking = 48 * 1024;
inline constexpr size_t kReservedSharedPerBlock = 1024;

// One of H100, H200, A100: what DIFFSCM_SOFTGPU says, H100 if it is not set. H100:8 is a part of
// one: 8 of its multiprocessors with their share of L2, bandwidth and throughput, which takes as
// long for 62 images as the whole for 1023, but here a sixteenth of the time. Throws Error for
// another name.
const Device& named_device();
const Device& named_device(std::string_view name);

}  // namespace diffscm::softgpu
