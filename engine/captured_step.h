// CapturedStep: work that is done many times over, recorded once and then queued as a whole.
#pragma once

#include <functional>
#include <memory>

#include "engine/memory.h"

namespace diffscm {

// The first run() executes `body` (which fills caches: packed weights, constants), the second
// records what it does on the target's default stream, and this and every later run() replays that.
// When a tensor has changed from which the recorded work reads a derived value (a packed weight, a
// bf16 copy), the recording is thrown away and everything starts from the beginning.
// A replay does exactly the same work on the same memory: what differs from run to run must be read
// from tensors that outlive the step and that the caller writes before run(). The body must
// therefore not look at values of the target, copy to or from the host, or depend on anything that
// changes. Memory it allocates comes from a pool of the step's own, so a tensor that it leaves
// behind (a captured variable) is valid, and holds the latest result, until the next run().
//
// Where nothing is recorded (on cpu, or anywhere with DIFFSCM_RECORD=0) every run() executes the
// body. Results are the same either way.
class CapturedStep {
 public:
  CapturedStep(Target target, std::function<void()> body);
  ~CapturedStep();
  CapturedStep(const CapturedStep&) = delete;
  CapturedStep& operator=(const CapturedStep&) = delete;

  void run();

 private:
  void record();
  bool outdated() const;
  void discard_recording();

  std::function<void()> body_;
  StepScope scope_;
  bool warm_ = false;
  kernels::Recording recording_;
};

// Whether steps on this target can be recorded: cuda and emu.
bool records_steps(Target target);
// For tests and debugging: false makes every CapturedStep execute its body each time. The
// environment's DIFFSCM_RECORD=0 sets it for the whole program.
void set_step_recording(bool enabled);

}  // namespace diffscm
