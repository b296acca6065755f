// How much memory work would need, without doing it.
#pragma once

#include "engine/target.h"

namespace diffscm {

// While one of these lives, operators and copies of this thread do nothing: tensors are taken and
// given back as in the real run, so that memory_statistics (engine/memory.h) tell what it needs,
// and memory that nobody writes to costs nothing. What a tensor holds means nothing meanwhile: no
// decision may depend on it. On other targets than the cpu, which need no device then, tensors must
// not outlive it.
class DryRun {
 public:
  DryRun();
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

 private:
  bool previous_;
};
bool dry_running();

// The tables of a target whose own are these, as a dry run sees them.
const kernels::OperatorTable& dry_operators(const kernels::OperatorTable& real);
const kernels::Runtime& dry_runtime(const kernels::Runtime& real);

}  // namespace diffscm
