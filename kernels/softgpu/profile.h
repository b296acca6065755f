// What a profiler would say of a run, with times that are predicted (predict.h) instead of
// measured: kernels, source lines, and every launch one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/softgpu/counters.h"
#include "kernels/softgpu/device.h"
#include "kernels/softgpu/execute.h"
#include "kernels/softgpu/predict.h"

namespace diffscm::softgpu {

class Profile {
 public:
  explicit Profile(const Device& device);

  // What DIFFSCM_SOFTGPU_PROFILE asks for: null if it is not set. Otherwise the profile of this
  // process, which is written to the file that it names, or to stderr for "-", at exit.
  static Profile* of_process(const Device& device);

  // The L1 that a block has to itself when so many share a multiprocessor: for
  // KernelCounters::l1_bytes.
  size_t l1_bytes(int blocks_per_multiprocessor, size_t shared_bytes_per_block) const;

  struct Launch {
    std::string kernel;  // for people
    std::shared_ptr<const Program> program;
    LaunchShape shape;
    int registers = 0;  // per thread
    int blocks_per_multiprocessor = 1;
    bool replayed = false;  // as a node of a graph
  };
  void add(const Launch& launch, const KernelCounters& counters);
  // A copy within the device's memory, or a fill.
  void add_copy(const std::string& what, uint64_t bytes, bool replayed);

  // The three tables. Every time in them is predicted, and says so.
  std::string kernels() const;
  std::string lines(size_t most = 40) const;
  std::string timeline() const;

 private:
  struct Entry {
    std::string kernel;
    LaunchShape shape;
    Prediction prediction;
    bool replayed;
  };
  struct Total {
    uint64_t launches = 0;
    double us = 0, instructions = 0, l2_bytes = 0, memory_bytes = 0, mma = 0;
    std::array<double, kLimits> us_limited{};
    uint64_t executed = 0, lanes = 0, sectors = 0, requests = 0, wavefronts = 0,
             ideal_wavefronts = 0;
    int registers = 0;
    uint32_t warps_per_multiprocessor = 0;
  };
  struct Line {
    double instructions = 0;
    InstructionCounters sum;
    uint64_t requests = 0;  // of global memory
  };

  const Device& device_;
  L2Cache l2_;
  std::vector<Entry> entries_;
  std::map<std::string, Total> totals_;                       // by kernel
  std::map<std::string, std::map<std::string, Line>> lines_;  // by kernel, by source line
};

}  // namespace diffscm::softgpu
