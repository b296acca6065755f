#include "kernels/softgpu/driver.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

// The named device's memory, or what this machine can give.
size_t capacity(const Device& device) {
  const auto machine =
      static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::min(device.memory_bytes, machine);
}

struct sigaction previous_handler;

// The program is lost anyway, so this does what a signal handler may not otherwise do.
void segmentation_fault(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (driver().memory.in_range(address)) {
    const std::string line = fmt::format("softgpu: host code touched device memory: {:#x} is {}\n",
                                         address, driver().memory.place(address));
    static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));
    std::abort();
  }
  sigaction(SIGSEGV, &previous_handler, nullptr);  // not ours: happens again, without this handler
}

void catch_touches_of_device_memory() {
  struct sigaction action {};
  action.sa_sigaction = segmentation_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous_handler);
}

bool made = false;  // whether there is a driver

// After all destructors of the program, whose objects may hold memory to the last.
[[gnu::destructor]] void report_leaks() {
  const char* wanted = std::getenv("DIFFSCM_SOFTGPU_LEAKS");
  if (!made || wanted == nullptr || std::string_view(wanted) != "1") return;
  fmt::print(stderr, "{}", driver().leaks());
}

}  // namespace

Driver::Driver() : device(named_device()), memory(capacity(device)) {
  catch_touches_of_device_memory();
  made = true;
}

const std::shared_ptr<Stream>& Driver::stream(cudaStream_t handle) const {
  const bool standard =
      handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
  return standard ? default_stream_ : streams.at(handle);
}

void Driver::submit(Stream& stream, std::string what, std::function<void()> run) {
  queue(stream, std::make_shared<const Work>(Work{std::move(what), std::move(run)}));
}

void Driver::queue(Stream& stream, WorkPointer work) {
  if (stream.capture) {
    demand(stream.capture->broken.empty(), cudaErrorStreamCaptureInvalidated,
           "the recording was broken by {}", stream.capture->broken);
    stream.capture->work.push_back(std::move(work));
    return;
  }
  // The default stream and blocking streams wait for each other.
  const bool standard = &stream == default_stream_.get();
  if (!standard && stream.blocking) default_stream_->run_all();
  if (standard) {
    for (const auto& [handle, other] : streams.all()) {
      if (!other->blocking) continue;
      if (other->capture) {
        other->capture->broken = current_call;
        refuse(cudaErrorStreamCaptureImplicit,
               "the default stream waits for blocking streams, one of which is being recorded");
      }
      other->run_all();
    }
  }
  stream.queue(std::move(work));
}

void Driver::run_everything() {
  default_stream_->run_all();
  for (const auto& [handle, stream] : streams.all()) stream->run_all();
}

void Driver::check_safe() {
  bool forbidden = false;
  for (const auto& [handle, stream] : streams.all()) {
    if (!stream->capture || !forbids_unsafe_calls(*stream->capture)) continue;
    stream->capture->broken = current_call;
    forbidden = true;
  }
  demand(!forbidden, cudaErrorStreamCaptureUnsupported,
         "it is not allowed while a stream is recorded; the recording is broken");
}

void Driver::check_not_captured(Stream& stream) {
  if (!stream.capture) return;
  stream.capture->broken = current_call;
  refuse(cudaErrorStreamCaptureUnsupported,
         "the stream is being recorded: nothing runs that could be waited for; the recording is "
         "broken");
}

std::string Driver::leaks() const {
  std::string text;
  for (const Allocation& a : memory.allocations())
    text += fmt::format("softgpu: never freed: {}allocation {} ({} bytes)\n",
                        a.host ? "pinned " : "", a.number, a.bytes);
  const auto count = [&](const char* kind, size_t number) {
    if (number > 0) text += fmt::format("softgpu: never destroyed: {} {}\n", number, kind);
  };
  count("streams", streams.all().size());
  count("events", events.all().size());
  count("graphs", graphs.all().size());
  count("executable graphs", executables.all().size());
  return text;
}

void Driver::reset() {
  fault.reset();
  executables.clear();
  graphs.clear();
  events.clear();
  streams.clear();
  default_stream_ = std::make_shared<Stream>(true);
  const std::vector<Allocation> all = memory.allocations();
  for (const Allocation& a : all) {
    void* block = reinterpret_cast<void*>(a.begin);
    a.host ? memory.release_host(block) : memory.release(block);
  }
}

int driver_version() {
  static const int version = [] {
    const char* wish = std::getenv("DIFFSCM_SOFTGPU_DRIVER");
    int major = CUDART_VERSION / 1000, minor = CUDART_VERSION % 1000 / 10;
    require(wish == nullptr || std::sscanf(wish, "%d.%d", &major, &minor) == 2,
            "DIFFSCM_SOFTGPU_DRIVER={}: give a version of CUDA, e.g. 12.2", wish ? wish : "");
    return 1000 * major + 10 * minor;
  }();
  return version;
}

// None of these is ever destroyed: destructors of static objects may come here last.
Driver& driver() {
  static Driver& value = *new Driver;
  return value;
}
KernelFiles& kernel_files() {
  static KernelFiles& value = *new KernelFiles;
  return value;
}
std::recursive_mutex& driver_mutex() {
  static std::recursive_mutex& value = *new std::recursive_mutex;
  return value;
}

void detail::print_refusal(std::string_view call, cudaError_t code, std::string_view why) {
  fmt::print(stderr, "softgpu: {} ({}): {}\n", call, cudaGetErrorName(code), why);
}

}  // namespace diffscm::softgpu
