#include "engine/captured_step.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace diffscm {
namespace {

std::atomic<bool>& recording_enabled() {
  static std::atomic<bool> enabled = [] {
    const char* value = std::getenv("DIFFSCM_RECORD");
    return value == nullptr || std::string_view(value) != "0";
  }();
  return enabled;
}

// Puts a step's scope in place for as long as it lives.
class InScope {
 public:
  explicit InScope(StepScope& scope) : outer_(std::exchange(step_scope(), &scope)) {}
  ~InScope() { step_scope() = outer_; }
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

 private:
  StepScope* outer_;
};

// Values derived within a recording that broke off were never computed.
void forget_computed(const StepScope& scope) {
  for (const StepScope::Read& read : scope.derived) {
    const auto source = read.source.lock();
    if (!read.computed_here || !source) continue;
    const std::lock_guard lock(source->derived_mutex);
    source->derived.erase(read.key);
  }
}

}  // namespace

bool records_steps(Target target) {
  return target != Target::cpu;
}

void set_step_recording(bool enabled) {
  recording_enabled() = enabled;
}

CapturedStep::CapturedStep(Target target, std::function<void()> body)
    : body_(std::move(body)), scope_{.target = target, .pool = {}, .changed = {}, .derived = {}} {}

CapturedStep::~CapturedStep() {
  discard_recording();
  body_ = {};
  if (scope_.pool) scope_.pool->retire();
}

void CapturedStep::discard_recording() {
  if (recording_.handle != nullptr) {
    try {
      runtime(scope_.target).synchronize({});  // a replay may be under way
    } catch (const Error&) {                   // whoever reads the results next is told
    }
    runtime(scope_.target).discard(std::exchange(recording_, {}));
  }
  scope_.changed.clear();
  scope_.derived.clear();
}

void CapturedStep::record() {
  const kernels::Runtime& target = runtime(scope_.target);
  target.begin_recording({});
  scope_.recording = true;
  try {
    body_();
    scope_.recording = false;
    recording_ = target.end_recording({});
  } catch (...) {
    if (std::exchange(scope_.recording, false)) {
      try {
        target.discard(target.end_recording({}));
      } catch (const Error&) {  // a recording that broke off is refused; the first error says why
      }
    }
    forget_computed(scope_);
    discard_recording();
    throw;
  }
  std::erase_if(scope_.changed, [](const auto& storage) { return storage.expired(); });
}

// Whether the recorded work reads a derived value that is no longer that of its source.
bool CapturedStep::outdated() const {
  return std::any_of(scope_.derived.begin(), scope_.derived.end(), [](const StepScope::Read& read) {
    if (read.computed_here) return false;
    const auto source = read.source.lock();
    return !source || source->version() != read.version;
  });
}

void CapturedStep::run() {
  // Inside another step its recording covers this one too.
  if (!records_steps(scope_.target) || !recording_enabled() || step_scope() != nullptr)
    return body_();
  if (!scope_.pool) scope_.pool = std::make_shared<MemoryPool>(scope_.target);
  if (recording_.handle != nullptr && outdated()) {
    discard_recording();
    warm_ = false;
  }
  if (recording_.handle == nullptr) {
    const InScope in_scope(scope_);
    if (!std::exchange(warm_, true)) return body_();
    record();
  }
  runtime(scope_.target).replay(recording_, {});
  // Values derived from what the replay wrote are stale, as after any change.
  for (const auto& storage : scope_.changed)
    if (const auto alive = storage.lock()) alive->touch();
}

}  // namespace diffscm
