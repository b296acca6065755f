#include "engine/io/picture_file.h"

#include <webp/encode.h>

#include <map>

#include "engine/io/npz.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/jpeg_testing.h"
#include "tests/engine/memory_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::encode_jpeg;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::memory_taken;
using diffscm::testing::put;
using diffscm::testing::Scans;
using diffscm::testing::TemporaryFolder;

const NpyArrays& golden() {
  static const NpyArrays arrays = read_npz(DIFFSCM_GOLDEN "/pictures.npz");
  return arrays;
}

std::string file(const std::string& name) {
  const auto& bytes = golden().at("file " + name).bytes;
  return {bytes.begin(), bytes.end()};
}

const std::vector<std::string> kFiles{"colour.jpg", "progressive.jpg", "grey.jpg",
                                      "cmyk.jpg",   "colour.png",      "palette.png",
                                      "lossy.webp", "lossless.webp",   "alpha.webp"};

TEST(PictureFile, every_format_is_decoded_as_pillow_does) {
  const TemporaryFolder folder;
  for (const std::string& name : kFiles) {
    SCOPED_TRACE(name);
    put(folder / name, file(name));
    const Picture picture = read_picture(folder / name);
    const NpyArray& expected = golden().at("pixels " + name);
    EXPECT_EQ(picture.height, expected.shape[0]);
    EXPECT_EQ(picture.width, expected.shape[1]);
    EXPECT_EQ(picture.channels, expected.shape.size() == 2 ? 1 : 3);
    EXPECT_EQ(picture.pixels, expected.bytes);
  }
  // ImageNet has a PNG file that is called .JPEG.
  put(folder / "a.JPEG", file("colour.png"));
  EXPECT_EQ(read_picture(folder / "a.JPEG").pixels, golden().at("pixels colour.png").bytes);
}

// Every length, and 2000 single bits.
TEST(PictureFile, damage_is_an_error_or_a_picture) {
  // Whether it is noticed.
  const auto is_refused = [](const std::string& bytes) {
    try {
      const Picture picture =
          decode_picture({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "file");
      EXPECT_EQ(std::ssize(picture.pixels), picture.height * picture.width * picture.channels);
      return false;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with("file ")) << error.what();
      return true;
    }
  };
  for (const std::string& name : kFiles) {
    SCOPED_TRACE(name);
    const std::string bytes = file(name);
    int noticed = 0;
    for (size_t k = 0; k < 2000; ++k) {
      const size_t bit = k * bytes.size() * 8 / 2000;
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      noticed += is_refused(damaged);
    }
    EXPECT_GT(noticed, 50);
    // What ends a PNG file holds no picture.
    const size_t needed = bytes.size() - (name.ends_with("png") ? 12 : 0);
    for (size_t length = 0; length < needed; ++length)
      ASSERT_TRUE(is_refused(bytes.substr(0, length))) << length;
  }
  const TemporaryFolder folder;
  expect_strangers_refused(folder / "a.webp", [&] { read_picture(folder / "a.webp"); });
}

TEST(PictureFile, absurd_sizes_are_refused) {
  const TemporaryFolder folder;
  // 16383 x 16383, the most that a lossy and a lossless WebP file can say.
  std::string webp = file("lossy.webp");
  const size_t frame = webp.find("\x9d\x01\x2a");
  ASSERT_NE(frame, std::string::npos);
  put(folder / "a.webp", webp.replace(frame + 3, 4, "\xff\x3f\xff\x3f"));
  expect_error([&] { read_picture(folder / "a.webp"); }, "16383 x 16383");
  webp = file("lossless.webp");
  const size_t bits = webp.find("VP8L") + 9;
  put(folder / "a.webp", webp.replace(bits, 3, "\xff\xff\xff"));
  expect_error([&] { read_picture(folder / "a.webp"); }, "16384 x ");
}

// The largest pictures that are read, in files of some kilobytes.
TEST(PictureFile, decoding_takes_no_more_than_64_mib) {
  const auto white = [](int64_t side) {
    const auto bytes = static_cast<size_t>(side * side * 3);
    return Picture{side, side, 3, std::vector<uint8_t>(bytes, 255)};
  };
  const auto webp = [&](int64_t side, bool lossless) {
    const Picture picture = white(side);
    uint8_t* file = nullptr;
    const auto s = static_cast<int>(side);
    const size_t size = lossless ? WebPEncodeLosslessRGB(picture.pixels.data(), s, s, 3 * s, &file)
                                 : WebPEncodeRGB(picture.pixels.data(), s, s, 3 * s, 50, &file);
    const std::string bytes(reinterpret_cast<const char*>(file), size);
    WebPFree(file);
    return bytes;
  };
  const auto png = encode_png(white(4096));
  const std::map<std::string, std::string> files{
      {"png", {png.begin(), png.end()}},
      {"baseline", encode_jpeg(white(4096))},
      {"progressive", encode_jpeg(white(3000), 90, Scans::progressive)},
      {"lossy", webp(4096, false)},
      {"lossless", webp(2600, true)}};
  for (const auto& [name, file] : files) {
    ASSERT_LT(file.size(), 2u << 20);
    const auto taken = memory_taken([&] {
      EXPECT_GE(
          decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, name).width,
          2600);
    });
    if (taken) {
      EXPECT_LT(*taken, 64 + 2) << name;
    }
  }
}

TEST(PictureFile, animations_are_refused) {
  std::string webp = file("alpha.webp");
  // As the container's header says it: VP8X, flag 2.
  std::string header("VP8X\x0a\0\0\0\x02\0\0\0\x1a\0\0\x14\0\0", 18);
  webp.insert(12, header);
  const size_t length = webp.size() - 8;
  for (size_t i = 0; i < 4; ++i) webp[4 + i] = static_cast<char>(length >> (8 * i));
  const TemporaryFolder folder;
  put(folder / "a.webp", webp);
  expect_error([&] { read_picture(folder / "a.webp"); }, "animation");
}

TEST(PictureFile, names) {
  for (const char* name : {"a.png", "a.b.JPEG", "x/y.jpg", "a.WebP", ".png"})
    EXPECT_TRUE(names_picture(name)) << name;
  for (const char* name : {"a.txt", "png", "a.png.txt", "a.jpe", "", "."})
    EXPECT_FALSE(names_picture(name)) << name;
}

}  // namespace
}  // namespace diffscm::io
