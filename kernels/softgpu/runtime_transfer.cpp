// The CUDA runtime's functions that copy and fill.
#include <cstring>
#include <vector>

#include "kernels/softgpu/driver.h"
#include "kernels/softgpu/profile.h"
#include "kernels/softgpu/region.h"

using namespace diffscm::softgpu;

namespace {

using Kind = Region::Kind;

// The direction that a copy was said to have must be the one that it has.
void check_direction(cudaMemcpyKind kind, const Region& to, const Region& from) {
  const auto matches = [](bool device, const Region& r) {
    return device == (r.kind() == Kind::device);
  };
  const bool right =
      kind == cudaMemcpyDefault ||
      (matches(kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, to) &&
       matches(kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, from));
  demand(right, cudaErrorInvalidValue, "direction {}, but it goes from {} memory to {} memory",
         static_cast<int>(kind), from.kind() == Kind::device ? "device" : "host",
         to.kind() == Kind::device ? "device" : "host");
}

void copy(Driver& d, void* to_address, const void* from_address, size_t bytes, cudaMemcpyKind kind,
          Stream& stream) {
  if (bytes == 0) return;
  const Region to(d.memory, to_address, bytes, "it writes");
  const Region from(d.memory, from_address, bytes, "it reads");
  check_direction(kind, to, from);
  const bool pageable = to.kind() == Kind::pageable || from.kind() == Kind::pageable;
  if (pageable && stream.capture) {
    stream.capture->broken = d.current_call;
    refuse(cudaErrorStreamCaptureUnsupported,
           "a recorded copy uses pageable host memory, which may be gone when it is replayed");
  }
  if (from.kind() == Kind::pageable) {
    // The host's memory has been read when the call returns.
    const auto* begin = static_cast<const std::byte*>(from_address);
    auto staged = std::make_shared<std::vector<std::byte>>(begin, begin + bytes);
    d.submit(stream, "copy to the device", [&memory = d.memory, to, staged] {
      memory.open();
      std::memcpy(to.get(memory), staged->data(), staged->size());
    });
    return;
  }
  const bool within = from.kind() == Kind::device && to.kind() == Kind::device;
  d.submit(stream, "copy", [&d, to, from, within, replayed = stream.capture != nullptr] {
    d.memory.open();
    std::memmove(to.get(d.memory), from.get(d.memory), to.bytes());
    Profile* profile = within ? Profile::current(d.device) : nullptr;
    if (profile != nullptr) profile->add_copy("copy", 2 * to.bytes(), replayed);
  });
  // The host's memory has been written when the call returns.
  if (to.kind() == Kind::pageable) stream.run_all();
}

void fill(Driver& d, void* address, int value, size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  const Region to(d.memory, address, bytes, "it writes");
  demand(to.kind() != Kind::pageable, cudaErrorInvalidValue, "{} is not device memory",
         fmt::ptr(address));
  d.submit(stream, "fill", [&d, to, value, replayed = stream.capture != nullptr] {
    d.memory.open();
    std::memset(to.get(d.memory), value, to.bytes());
    Profile* profile = Profile::current(d.device);
    if (profile != nullptr) profile->add_copy("fill", to.bytes(), replayed);
  });
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call("cudaMemcpyAsync",
              [&](Driver& d) { copy(d, to, from, bytes, kind, *d.stream(stream)); });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call("cudaMemcpy", [&](Driver& d) {
    d.check_safe();
    Stream& standard = *d.stream(nullptr);
    copy(d, to, from, bytes, kind, standard);
    standard.run_all();
  });
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync",
              [&](Driver& d) { fill(d, address, value, bytes, *d.stream(stream)); });
}
