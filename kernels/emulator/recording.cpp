#include "kernels/emulator/recording.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/error.h"

namespace diffscm::kernels::emulator {
namespace {

using Steps = std::vector<std::function<void()>>;

std::mutex mutex;

std::map<void*, Steps>& under_way() {  // by stream
  static std::map<void*, Steps> recordings;
  return recordings;
}

}  // namespace

bool recording(Stream stream) {
  const std::lock_guard lock(mutex);
  return under_way().contains(stream.handle);
}

void do_or_record(Stream stream, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex);
    const auto found = under_way().find(stream.handle);
    if (found != under_way().end()) {
      found->second.push_back(std::move(work));
      return;
    }
  }
  work();
}

void begin_recording(Stream stream) {
  const std::lock_guard lock(mutex);
  require(under_way().try_emplace(stream.handle).second,
          "target emu: this stream is being recorded already");
}

Recording end_recording(Stream stream) {
  const std::lock_guard lock(mutex);
  const auto found = under_way().find(stream.handle);
  require(found != under_way().end(), "target emu: no recording was begun on this stream");
  auto steps = std::make_unique<Steps>(std::move(found->second));
  under_way().erase(found);
  return {steps.release()};
}

void replay(Recording recording, Stream stream) {
  require(recording.handle != nullptr, "target emu: an empty recording cannot be replayed");
  for (const auto& step : *static_cast<const Steps*>(recording.handle)) do_or_record(stream, step);
}

void discard(Recording recording) {
  delete static_cast<Steps*>(recording.handle);
}

}  // namespace diffscm::kernels::emulator
