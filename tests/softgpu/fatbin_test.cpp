// The container of what nvcc compiled, and what may be wrong with it. (The tests of launches read
// those of a real compiler.)
#include "kernels/softgpu/fatbin.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <zstd.h>

#include <cstring>

#include "kernels/error.h"
#include "kernels/softgpu/cubin.h"

namespace diffscm::softgpu {
namespace {

using Bytes = std::vector<std::byte>;

template <class T>
void put(Bytes& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

Bytes entry(uint16_t kind, uint32_t architecture, const std::string& payload, uint64_t flags,
            uint64_t whole) {
  Bytes e(64);
  put(e, 0, kind);
  put(e, 4, uint32_t{64});
  put(e, 8, uint64_t{(payload.size() + 7) / 8 * 8});
  put(e, 16, static_cast<uint32_t>(flags == 0 ? 0 : payload.size()));
  put(e, 28, architecture);
  put(e, 40, flags);
  put(e, 56, whole);
  const auto* data = reinterpret_cast<const std::byte*>(payload.data());
  e.insert(e.end(), data, data + payload.size());
  e.resize((e.size() + 7) / 8 * 8);
  return e;
}

Bytes container(const std::vector<Bytes>& entries) {
  Bytes all(16);
  for (const Bytes& e : entries) all.insert(all.end(), e.begin(), e.end());
  put(all, 0, uint32_t{0xBA55ED50});
  put(all, 4, uint16_t{1});
  put(all, 6, uint16_t{16});
  put(all, 8, uint64_t{all.size() - 16});
  return all;
}

const std::string kText(1000, 'x');

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), 0);
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string lz4(const std::string& text) {
  std::string out(2000, 0);
  out.resize(static_cast<size_t>(
      LZ4_compress_default(text.data(), out.data(), static_cast<int>(text.size()), 2000)));
  return out;
}

TEST(Fatbin, EntriesPlainAndCompressed) {
  const auto images = read_fatbin(
      container({entry(1, 90, kText, 0, 0), entry(2, 80, zstd(kText), 0x8011, kText.size()),
                 entry(1, 75, lz4(kText), 0x2011, kText.size())}));
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].kind, Image::Kind::ptx);
  EXPECT_EQ(images[1].kind, Image::Kind::cubin);
  EXPECT_EQ(images[1].architecture, 80);
  for (const Image& image : images) EXPECT_EQ(image.contents, kText);
}

TEST(Fatbin, WhatIsNone) {
  EXPECT_THROW(read_fatbin(Bytes(3)), Error);
  EXPECT_THROW(read_fatbin(Bytes(16)), Error);
  Bytes cut = container({entry(1, 90, kText, 0, 0)});
  cut.pop_back();
  EXPECT_THROW(read_fatbin(cut), Error);
  Bytes overlong = container({entry(1, 90, kText, 0, 0)});
  put(overlong, 16 + 8, uint64_t{1} << 60);
  EXPECT_THROW(read_fatbin(overlong), Error);
  EXPECT_THROW(read_fatbin(container({entry(2, 80, zstd(kText), 0x8011, kText.size() + 1)})),
               Error);
  EXPECT_THROW(read_fatbin(container({entry(2, 80, kText, 0x8011, kText.size())})), Error);
  EXPECT_THROW(read_fatbin(container({entry(2, 80, kText, 0x8011, uint64_t{1} << 50)})), Error);
}

TEST(Cubin, WhatIsNone) {
  EXPECT_THROW(read_cubin(""), Error);
  EXPECT_THROW(read_cubin(std::string(64, 0)), Error);
}

}  // namespace
}  // namespace diffscm::softgpu
