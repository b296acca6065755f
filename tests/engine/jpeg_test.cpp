#include "engine/io/picture_file.h"

#include <numeric>

#include "tests/engine/io_testing.h"
#include "tests/engine/jpeg_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::encode_jpeg;
using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::from_hex;
using diffscm::testing::put;
using diffscm::testing::Scans;
using diffscm::testing::TemporaryFolder;

// Written by Pillow 13, 12 x 9, chroma halved.
constexpr const char* kPillow =
    "ffd8ffe000104a46494600010100000100010000ffdb0043000503040404030504040405050506070c0807070707"
    "0f0b0b090c110f1212110f111113161c1713141a1511111821181a1d1d1f1f1f13172224221e241c1e1f1effdb00"
    "43010505050706070e08080e1e1411141e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e"
    "1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1effc00011080009000c03012200021101031101ffc4001f000001"
    "0501010101010100000000000000000102030405060708090a0bffc400b510000201030302040305050404000001"
    "7d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25"
    "262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a8384"
    "85868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5"
    "d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffc4001f0100030101010101010101010000000000"
    "000102030405060708090a0bffc400b5110002010204040304070504040001027700010203110405213106124151"
    "0761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a43"
    "4445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a929394959697"
    "98999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8"
    "e9eaf2f3f4f5f6f7f8f9faffda000c03010002110311003f00f33f077c334923592480050324915e9163f0dedd6d"
    "97364a01191bdc293f8574fe14ff008f2b7ffae8bfc8d7a2c5d0fe1ffa08af03119aca8e12138c15fddbb693bf32"
    "6faa7a2b7af5bf40e05e2cc7ba5f174ee7ffd9";

Picture gradient(int64_t height, int64_t width, int64_t channels) {
  Picture picture{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i)
    picture.pixels.push_back(
        static_cast<uint8_t>(40 + i / channels * 150 / (height * width) + 20 * (i % channels)));
  return picture;
}

TEST(Jpeg, decodes_as_pillow_does) {
  const TemporaryFolder folder;
  put(folder / "a.jpg", from_hex(kPillow));
  const Picture picture = read_picture(folder / "a.jpg");
  EXPECT_EQ(picture.width, 12);
  EXPECT_EQ(picture.height, 9);
  EXPECT_EQ(picture.channels, 3);
  EXPECT_EQ(
      std::vector<uint8_t>(picture.pixels.begin(), picture.pixels.begin() + 36),
      (std::vector<uint8_t>{9,   0, 3, 16,  0, 1, 36,  1, 0,  55,  1, 0,  73,  2, 0,  90,  2, 0,
                            108, 4, 1, 125, 5, 6, 145, 5, 14, 163, 1, 24, 188, 0, 42, 202, 1, 53}));
  int64_t sum = 0, weighted = 0;
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    sum += picture.pixels[i];
    weighted += static_cast<int64_t>(i) * picture.pixels[i];
  }
  EXPECT_EQ(sum, 32398);
  EXPECT_EQ(weighted, 6355133);
}

TEST(Jpeg, every_way_of_storing_is_read) {
  const TemporaryFolder folder;
  const auto path = folder / "a.jpg";
  const Picture colour = gradient(21, 18, 3), grey = gradient(21, 18, 1);
  for (const Scans scans : {Scans::one, Scans::one_per_channel, Scans::progressive}) {
    put(path, encode_jpeg(colour, 98, scans));
    const Picture back = read_picture(path);
    ASSERT_EQ(back.pixels.size(), colour.pixels.size());
    for (size_t i = 0; i < back.pixels.size(); ++i)
      ASSERT_NEAR(back.pixels[i], colour.pixels[i], 8) << i;
  }
  put(path, encode_jpeg(grey, 98));
  EXPECT_EQ(read_picture(path).channels, 1);
  EXPECT_EQ(read_picture(path).pixels.size(), grey.pixels.size());
  put(path, encode_jpeg(gradient(21, 18, 4)));  // CMYK
  EXPECT_EQ(read_picture(path).channels, 3);
}

TEST(Jpeg, damage_is_an_error) {
  const TemporaryFolder folder;
  const auto path = folder / "a.jpg";
  for (const Scans scans : {Scans::one, Scans::progressive}) {
    const std::string file = encode_jpeg(gradient(40, 50, 3), 90, scans);
    expect_truncations_refused(path, file, [&] { read_picture(path); });
    EXPECT_GT(expect_bit_flips_survived(path, file, [&] { read_picture(path); }), 100);
  }
  expect_strangers_refused(path, [&] { read_picture(path); });
}

// Cameras pad files before their end.
TEST(Jpeg, bytes_before_the_end_are_no_damage) {
  const TemporaryFolder folder;
  std::string file = encode_jpeg(gradient(16, 16, 3));
  put(folder / "a.jpg", file);
  const Picture plain = read_picture(folder / "a.jpg");
  put(folder / "a.jpg", file.insert(file.size() - 2, 20, '\0'));
  EXPECT_EQ(read_picture(folder / "a.jpg").pixels, plain.pixels);
}

// Coefficients of a progressive file are kept until all have come: 3 x 2 bytes for each pixel.
TEST(Jpeg, a_progressive_giant_is_refused) {
  const TemporaryFolder folder;
  const Picture white{3800, 4000, 3, std::vector<uint8_t>(3800 * 4000 * 3, 255)};
  put(folder / "a.jpg", encode_jpeg(white, 90, Scans::progressive));
  expect_error([&] { read_picture(folder / "a.jpg"); }, "too much memory");
  put(folder / "a.jpg", encode_jpeg(white, 90));
  EXPECT_EQ(read_picture(folder / "a.jpg").height, 3800);
}

TEST(Jpeg, small_files_cannot_ask_for_much) {
  const TemporaryFolder folder;
  const auto path = folder / "a.jpg";
  std::string file = encode_jpeg(gradient(16, 16, 3));
  const size_t frame = file.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  file.replace(frame + 5, 4, "\xfe\xf0\xfe\xf0");
  put(path, file);
  expect_error([&] { read_picture(path); }, "the limit is");
  // The same scan again and again.
  file = encode_jpeg(gradient(16, 16, 3), 90, Scans::one_per_channel);
  const size_t first = file.find("\xff\xda"), second = file.find("\xff\xc4", first);
  const size_t next = std::min(second, file.find("\xff\xda", first + 2));
  std::string again;
  for (int k = 0; k < 200; ++k) again += file.substr(first, next - first);
  put(path, file.substr(0, first) + again + file.substr(first));
  expect_error([&] { read_picture(path); }, "too many scans");
}

}  // namespace
}  // namespace diffscm::io
