// What a profiler would say of a run, with times that are predicted (predict.h) instead of
// measured: kernels, source lines, and every launch one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
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

  // What work is counted for now, or null: the part of a program between profiling().begin() and
  // end() (profiling.h), else the whole process if DIFFSCM_SOFTGPU_PROFILE names a file ("-":
  // stderr), which is written at exit: the three tables, or JSON if its name ends in .json.
  static Profile* current(const Device& device);
  static void set_current(Profile* part);

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
  // Forgets what was counted, but not what the L2 holds.
  void forget();

  // The three tables, and all of them as JSON. Every time is predicted, and says
  // so.
  std::string kernels() const;
  std::string lines(size_t most = 40) const;
  std::string timeline() const;
  std::string json() const;

 private:
  struct Entry {
    std::string kernel;
    std::optional<LaunchShape> shape;  // not of copies
    Prediction prediction;
    bool replayed;
  };
  // Of a kernel, or of one of its source lines.
  struct Count {
    double instructions = 0;  // of the machine, estimated
    InstructionCounters sum;
    uint64_t requests = 0, sectors = 0;  // of global memory
    double mma = 0;

    double lanes() const { return per(sum.lanes, sum.executed); }
    double sectors_per_request() const { return per(sectors, requests); }
    double conflict() const { return per(sum.wavefronts, sum.ideal_wavefronts); }

   private:
    static double per(uint64_t a, uint64_t b) {
      return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
    }
  };
  struct Total {
    uint64_t launches = 0;
    double us = 0, l2_bytes = 0, memory_bytes = 0;
    std::array<double, kLimits> us_limited{};
    Count count;
    int registers = 0;
    uint32_t warps_per_multiprocessor = 0;
  };
  // The kernels, the longest first; the lines, those of most instructions first.
  std::vector<std::pair<std::string, const Total*>> by_time() const;
  struct Row {
    const std::string *kernel, *place;
    const Count* count;
  };
  std::vector<Row> by_instructions() const;
  double us() const;
  double occupancy(const Total& t) const;  // 0 .. 1

  const Device& device_;
  L2Cache l2_;
  std::vector<Entry> entries_;
  std::map<std::string, Total> totals_;                        // by kernel
  std::map<std::string, std::map<std::string, Count>> lines_;  // by kernel, by source line
};

}  // namespace diffscm::softgpu
