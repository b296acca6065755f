#include "kernels/softgpu/fatbin.h"

#include <lz4.h>
#include <zstd.h>

#include <cstdint>
#include <cstring>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

constexpr uint32_t kMagic = 0xBA55ED50;
constexpr uint64_t kLz4 = 0x2000, kZstd = 0x8000;
constexpr uint64_t kLargestImage = uint64_t{1} << 30;

template <class T>
T number(std::span<const std::byte> bytes, size_t at) {
  require(at + sizeof(T) <= bytes.size(), "fat binary: it ends within a header");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string decompress(std::span<const std::byte> payload, uint64_t flags, uint64_t bytes) {
  if ((flags & (kLz4 | kZstd)) == 0)
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  require(bytes <= kLargestImage, "fat binary: an entry claims {} bytes", bytes);
  std::string out(bytes, '\0');
  bool whole;
  if ((flags & kZstd) != 0) {
    whole = ZSTD_decompress(out.data(), out.size(), payload.data(), payload.size()) == bytes;
  } else {
    const int n = LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data()), out.data(),
                                      static_cast<int>(payload.size()), static_cast<int>(bytes));
    whole = n >= 0 && static_cast<uint64_t>(n) == bytes;
  }
  require(whole, "fat binary: an entry of {} bytes cannot be decompressed to {}", payload.size(),
          bytes);
  return out;
}

}  // namespace

std::vector<Image> read_fatbin(std::span<const std::byte> container) {
  require(number<uint32_t>(container, 0) == kMagic, "fat binary: it starts with {:#x}, not {:#x}",
          number<uint32_t>(container, 0), kMagic);
  const size_t begin = number<uint16_t>(container, 6);
  const auto length = number<uint64_t>(container, 8);
  require(begin <= container.size() && length <= container.size() - begin,
          "fat binary: {} bytes of {} are there", container.size(), length);
  std::span rest = container.subspan(begin, length);
  std::vector<Image> images;
  while (!rest.empty()) {
    const auto kind = number<uint16_t>(rest, 0);
    const size_t header = number<uint32_t>(rest, 4);
    const auto stored = number<uint64_t>(rest, 8);  // padded to 8 bytes
    const auto compressed = number<uint32_t>(rest, 16);
    const auto flags = number<uint64_t>(rest, 40);
    require(header <= rest.size() && stored <= rest.size() - header && compressed <= stored,
            "fat binary: an entry is longer than what holds it");
    if (kind == 1 || kind == 2) {
      const std::span payload = rest.subspan(header, compressed != 0 ? compressed : stored);
      images.push_back({kind == 1 ? Image::Kind::ptx : Image::Kind::cubin,
                        static_cast<int>(number<uint32_t>(rest, 28)),
                        decompress(payload, flags, number<uint64_t>(rest, 56))});
    }
    rest = rest.subspan(header + stored);
  }
  return images;
}

std::vector<Image> read_fatbin(const void* data) {
  const auto* bytes = static_cast<const std::byte*>(data);
  constexpr size_t kHeader = 16;
  const std::span header(bytes, kHeader);
  require(number<uint32_t>(header, 0) == kMagic, "fat binary: it starts with {:#x}, not {:#x}",
          number<uint32_t>(header, 0), kMagic);
  return read_fatbin(std::span(bytes, number<uint16_t>(header, 6) + number<uint64_t>(header, 8)));
}

}  // namespace diffscm::softgpu
