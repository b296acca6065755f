#include "engine/io/picture_file.h"

#include <zlib.h>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::from_hex;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

Picture example(int64_t channels) {
  Picture picture{7, 5, channels, {}};
  for (int64_t i = 0; i < 7 * 5 * channels; ++i)
    picture.pixels.push_back(static_cast<uint8_t>(i * 37));
  return picture;
}

TEST(Png, round_trip) {
  const TemporaryFolder folder;
  for (const int64_t channels : {1, 3}) {
    const Picture written = example(channels);
    write_png(folder / "a.png", written);
    const Picture read = read_picture(folder / "a.png");
    EXPECT_EQ(read.height, 7);
    EXPECT_EQ(read.width, 5);
    EXPECT_EQ(read.channels, channels);
    EXPECT_EQ(read.pixels, written.pixels);
  }
}

TEST(Png, survives_damage) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", example(3));
  const std::string bytes = get(folder / "a.png");
  const auto read = [&] {
    const Picture picture = read_picture(folder / "a.png");
    EXPECT_EQ(static_cast<int64_t>(picture.pixels.size()),
              picture.height * picture.width * picture.channels);
  };
  // The last 12 bytes are the IEND chunk, which holds no picture.
  expect_truncations_refused(folder / "a.png", bytes.substr(0, bytes.size() - 12), read);
  EXPECT_GT(expect_bit_flips_survived(folder / "a.png", bytes, read), 100);
  expect_strangers_refused(folder / "a.png", read);
}

TEST(Png, refuses_a_giant_before_allocating_it) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", example(1));
  std::string bytes = get(folder / "a.png");
  // Width and height in the IHDR chunk, with its checksum made right again.
  bytes.replace(16, 8, std::string("\x00\x00\xff\xff\x00\x00\xff\xff", 8));
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(bytes.data()) + 12, 17);
  for (int i = 0; i < 4; ++i)
    bytes[static_cast<size_t>(29 + i)] = static_cast<char>(crc >> (24 - 8 * i));
  put(folder / "a.png", bytes);
  expect_error([&] { read_picture(folder / "a.png"); }, "65535 x 65535");
}

TEST(Png, refuses_to_write_nonsense) {
  const TemporaryFolder folder;
  expect_error([&] { write_png(folder / "a.png", {2, 2, 1, {1, 2, 3}}); }, "is not a picture");
  expect_error([&] { write_png(folder / "a.png", {0, 2, 1, {}}); }, "is not a picture");
  expect_error([&] { write_png(folder / "a.png", {1, 1, 2, {1, 2}}); }, "is not a picture");
  expect_error([&] { write_png(folder / "no/a.png", example(1)); }, "no/a.png");
  EXPECT_EQ(folder.files(), 0);
}

// Files as other programs write them ------------------------------------------------------------

std::string big_endian(uint32_t value) {
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift);
  return out;
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const uLong crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(static_cast<uint32_t>(crc));
}

constexpr int kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6;

// A picture of one row whose samples are the bytes of `row`; `between` are chunks before the data.
std::string png_of_row(uint32_t width, int bits, int colour, const std::string& row,
                       const std::string& between = "") {
  const std::string lines = std::string(1, '\0') + row;  // filter 0
  uLongf size = compressBound(static_cast<uLong>(lines.size()));
  std::string packed(size, '\0');
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                     reinterpret_cast<const Bytef*>(lines.data()), lines.size()),
            Z_OK);
  packed.resize(size);
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", big_endian(width) + big_endian(1) + static_cast<char>(bits) +
                           static_cast<char>(colour) + std::string(3, '\0')) +
         between + chunk("IDAT", packed) + chunk("IEND", "");
}

Picture read_bytes(const std::string& bytes) {
  const TemporaryFolder folder;
  put(folder / "a.png", bytes);
  return read_picture(folder / "a.png");
}

using Levels = std::vector<uint8_t>;

TEST(PngFormats, sixteen_bits_are_divided_by_257) {
  // 0, 28 * 257 + 128, 57 * 257 - 128, 85 * 257, 255 * 257
  const std::string row = from_hex("00001c9c38b95555ffff");
  EXPECT_EQ(read_bytes(png_of_row(5, 16, kGrey, row)).pixels, (Levels{0, 28, 57, 85, 255}));
  const Picture colour = read_bytes(png_of_row(1, 16, kRgb, from_hex("1c9c38b95555")));
  EXPECT_EQ(colour.channels, 3);
  EXPECT_EQ(colour.pixels, (Levels{28, 57, 85}));
}

TEST(PngFormats, gamma_and_colour_spaces_change_nothing) {
  const Levels levels = {0, 64, 128, 255};
  const std::string row(levels.begin(), levels.end());
  const std::string alpha = from_hex("ff80");
  for (const uint32_t gamma : {45455u, 100000u, 220000u}) {
    const std::string gama = chunk("gAMA", big_endian(gamma));
    EXPECT_EQ(read_bytes(png_of_row(4, 8, kGrey, row, gama)).pixels, levels);
    EXPECT_EQ(read_bytes(png_of_row(1, 8, kGreyAlpha, alpha, gama)).pixels, Levels{128});
    EXPECT_EQ(read_bytes(png_of_row(2, 16, kGrey, from_hex("55558000"), gama)).pixels,
              (Levels{85, 128}));
  }
  EXPECT_EQ(read_bytes(png_of_row(4, 8, kGrey, row, chunk("sRGB", from_hex("00")))).pixels, levels);
}

TEST(PngFormats, few_bits_are_spread_over_all_levels) {
  EXPECT_EQ(read_bytes(png_of_row(4, 1, kGrey, from_hex("50"))).pixels, (Levels{0, 255, 0, 255}));
  EXPECT_EQ(read_bytes(png_of_row(4, 2, kGrey, from_hex("1b"))).pixels, (Levels{0, 85, 170, 255}));
  EXPECT_EQ(read_bytes(png_of_row(4, 4, kGrey, from_hex("017f"))).pixels,
            (Levels{0, 17, 119, 255}));
}

TEST(PngFormats, transparency_lies_over_black) {
  // round(200 * 51 / 255) = 40, round(7 * 128 / 255) = 4
  EXPECT_EQ(read_bytes(png_of_row(2, 8, kGreyAlpha, from_hex("c8330780"))).pixels, (Levels{40, 4}));
  const Picture colour = read_bytes(png_of_row(2, 8, kRgba, from_hex("c8000733c864ff00")));
  EXPECT_EQ(colour.channels, 3);
  EXPECT_EQ(colour.pixels, (Levels{40, 0, 1, 0, 0, 0}));
  // One grey level, or colour, declared transparent.
  EXPECT_EQ(read_bytes(png_of_row(3, 8, kGrey, from_hex("0509ff"), chunk("tRNS", from_hex("0009"))))
                .pixels,
            (Levels{5, 0, 255}));
  EXPECT_EQ(read_bytes(png_of_row(2, 8, kRgb, from_hex("010203040506"),
                                  chunk("tRNS", from_hex("000100020003"))))
                .pixels,
            (Levels{0, 0, 0, 4, 5, 6}));
}

TEST(PngFormats, palettes_are_colours) {
  const std::string palette = chunk("PLTE", from_hex("0102030a0b0cc80000"));
  EXPECT_EQ(read_bytes(png_of_row(3, 8, kPalette, from_hex("020001"), palette)).pixels,
            (Levels{200, 0, 0, 1, 2, 3, 10, 11, 12}));
  EXPECT_EQ(read_bytes(png_of_row(2, 2, kPalette, from_hex("80"),
                                  palette + chunk("tRNS", from_hex("ffff33"))))
                .pixels,
            (Levels{40, 0, 0, 1, 2, 3}));
}

// 6 x 5 pixels, levels 0, 8, 16, ..., Adam7.
constexpr std::string_view kInterlaced =
    "89504e470d0a1a0a0000000d49484452000000060000000508000000013434f2ac0000003249444154789c636060"
    "506038f0804180e102434241030387840643464507c3891b2f180c2c1c3c02221826cc58b062c30e00e6810d9916"
    "92c2d80000000049454e44ae426082";

TEST(PngFormats, interlaced) {
  const Picture picture = read_bytes(from_hex(kInterlaced));
  EXPECT_EQ(picture.height, 5);
  EXPECT_EQ(picture.width, 6);
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(picture.pixels.at(i), i * 8) << i;
}

TEST(PngFormats, the_reason_of_a_failure_is_given) {
  std::string bytes = png_of_row(1, 8, kGrey, "x");
  expect_error([&] { read_bytes("\x89PNG" + bytes.substr(4, 20)); }, "cut short");
  bytes[20] = 'x';  // in IHDR, under its checksum
  expect_error([&] { read_bytes(bytes); }, "CRC error");
  expect_error([&] { read_bytes("not a picture at all"); }, "no PNG, JPEG or WebP file");
  bytes = png_of_row(1, 8, kGrey, "x");
  bytes[bytes.size() - 18] ^= 1;  // in IDAT
  expect_error([&] { read_bytes(bytes); }, "is a corrupt PNG file: \"IDAT: ");
}

}  // namespace
}  // namespace diffscm::io
