#include "engine/dry_run.h"

#include <sys/mman.h>

#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "engine/memory.h"

namespace diffscm {
namespace {

thread_local bool t_dry = false;

template <class Args>
void nothing(const Args&, kernels::Stream) {}

// Whose dry table the thread asked for last: questions for sizes have to be answered.
thread_local const kernels::OperatorTable* t_real = nullptr;

kernels::OperatorTable silenced(const kernels::OperatorTable& real) {
  kernels::OperatorTable table(real.target);
#define DIFFSCM_SILENCE(name, ...) \
  if (real.name) table.name.run = nothing<__VA_ARGS__>;
#define DIFFSCM_SILENCE_BOTH(name, Args) \
  DIFFSCM_SILENCE(name, Args<float>)     \
  DIFFSCM_SILENCE(name##_bf16, Args<kernels::bf16>)
  using namespace kernels;
  DIFFSCM_OPERATORS(DIFFSCM_SILENCE, DIFFSCM_SILENCE_BOTH, DIFFSCM_SILENCE)
#undef DIFFSCM_SILENCE_BOTH
#undef DIFFSCM_SILENCE
  table.conv2d_pack.run = [](const Conv2dPackArgs& args, Stream stream) {
    if (!args.packed) t_real->conv2d_pack.run(args, stream);
  };
  if (real.conv2d_pack_bf16)
    table.conv2d_pack_bf16.run = [](const BasicConv2dPackArgs<bf16>& args, Stream stream) {
      if (!args.packed) t_real->conv2d_pack_bf16.run(args, stream);
    };
  return table;
}

// Addresses on a device, with no memory behind them.
struct Reserved {
  std::mutex mutex;
  std::map<void*, size_t> bytes;
};
Reserved& reserved() {
  static Reserved all;
  return all;
}

void* reserve(size_t bytes) {
  void* block = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  const std::lock_guard lock(reserved().mutex);
  reserved().bytes[block] = bytes;
  return block;
}

thread_local const kernels::Runtime* t_runtime = nullptr;  // the one that reserves

void give_back(void* block) {
  const std::lock_guard lock(reserved().mutex);
  const auto found = reserved().bytes.find(block);
  if (found == reserved().bytes.end())
    return t_runtime->release(block);  // taken before the dry run
  munmap(block, found->second);
  reserved().bytes.erase(found);
}

}  // namespace

DryRun::DryRun() : previous_(std::exchange(t_dry, true)) {}
DryRun::~DryRun() {
  if (!previous_ && t_runtime != nullptr) {
    release_cached_memory(parse_target(t_runtime->target));  // nobody else may be handed a block
    t_runtime = nullptr;
  }
  t_dry = previous_;
}
bool dry_running() {
  return t_dry;
}

const kernels::OperatorTable& dry_operators(const kernels::OperatorTable& real) {
  thread_local std::map<const kernels::OperatorTable*, std::unique_ptr<kernels::OperatorTable>>
      tables;
  auto& table = tables[&real];
  if (!table) table = std::make_unique<kernels::OperatorTable>(silenced(real));
  t_real = &real;
  return *table;
}

const kernels::Runtime& dry_runtime(const kernels::Runtime& real) {
  thread_local kernels::Runtime table;
  table = real;
  table.copy = [](void*, const void*, size_t, kernels::Copy, kernels::Stream) {};
  if (real.target == std::string_view(name_of(Target::cpu)))
    return table;  // the host's own code writes there
  t_runtime = &real;
  table.allocate = reserve;
  table.release = give_back;
  return table;
}

}  // namespace diffscm
