#include "data/celeba.h"

#include "data/faces.h"
#include "data/resize.h"
#include "engine/io/picture_file.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/jpeg_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::encode_jpeg;
using diffscm::testing::expect_error;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

constexpr const char* kAttributes =
    "6\r\n"
    "5_o_Clock_Shadow Bald Male No_Beard Smiling Young \r\n"
    "000001.jpg -1 -1 -1  1  1  1\r\n"
    "000002.jpg  1  1  1 -1 -1 -1\r\n"
    "000003.jpg -1 -1 -1  1 -1  1\r\n"
    "000004.jpg -1 -1  1  1 -1  1\r\n"
    "000005.jpg -1 -1  1 -1  1 -1\r\n"
    "000006.jpg -1  1  1  1  1 -1\r\n";
constexpr const char* kPartition =
    "000001.jpg 0\n000002.jpg 0\n000003.jpg 0\n000004.jpg 1\n000005.jpg 2\n000006.jpg 2\n";

// Smooth, and different for each k.
io::Picture picture(int k, int64_t width = 178, int64_t channels = 3) {
  io::Picture picture{218, width, channels, {}};
  for (int64_t y = 0; y < 218; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c)
        picture.pixels.push_back(static_cast<uint8_t>((x / 2 + y / 2 + 30 * c + 10 * k) % 256));
  return picture;
}

class CelebA : public ::testing::Test {
 protected:
  CelebA() {
    put(attributes_, kAttributes);
    put(partition_, kPartition);
    std::filesystem::create_directory(folder_ / "img_align_celeba");
    for (int k = 1; k <= 6; ++k) put(image(k), encode_jpeg(picture(k)));
  }
  std::filesystem::path image(int k) const {
    return folder_ / ("img_align_celeba/00000" + std::to_string(k) + ".jpg");
  }
  Dataset load(Split split = Split::train, const std::string& options = "") const {
    return load_dataset(folder_.path().string() + options, split);
  }
  // Loading must fail when `list` has `part` replaced.
  void expect_refused(const std::filesystem::path& list, const std::string& part,
                      const std::string& by, const std::string& message) const {
    const std::string good = get(list);
    std::string bad = good;
    const size_t at = bad.find(part);
    ASSERT_NE(at, std::string::npos) << part;
    put(list, bad.replace(at, part.size(), by));
    expect_error([&] { load(); }, message);
    put(list, good);
  }

  TemporaryFolder folder_;
  const std::filesystem::path attributes_ = folder_ / "list_attr_celeba.txt",
                              partition_ = folder_ / "list_eval_partition.txt";
};

TEST_F(CelebA, splits_and_attributes_are_those_of_the_lists) {
  const Dataset train = load(), test = load(Split::test);
  EXPECT_EQ(train.name, folder_.path().filename());
  EXPECT_EQ(train.size(), 3);
  EXPECT_EQ(test.size(), 2);
  EXPECT_TRUE(train.has_test);
  EXPECT_EQ(test.notes,
            std::vector<std::string>{"partition 1 (validation, 1 of the images) is not read"});
  EXPECT_EQ(train.images(std::vector<int64_t>{0}).shape(), (Shape{1, 64, 64, 3}));
  // Those of the drawn faces come first and have their states.
  const auto drawn = face_attributes();
  ASSERT_EQ(train.attributes.size(), 6u);
  EXPECT_TRUE(std::equal(drawn.begin(), drawn.end(), train.attributes.begin()));
  EXPECT_EQ(train.attributes[4], (Attribute{.name = "5_o_Clock_Shadow", .states = {"no", "yes"}}));
  EXPECT_EQ(train.attributes[5].name, "Smiling");
  EXPECT_EQ(train.factual(1), (Assignment{{"5_o_Clock_Shadow", 1},
                                          {"Bald", 1},
                                          {"Male", 1},
                                          {"No_Beard", 0},
                                          {"Smiling", 0},
                                          {"Young", 0}}));
  EXPECT_EQ(show(test.factual(1), test.attributes),
            "5_o_Clock_Shadow=no,Bald=bald,Male=male,No_Beard=shaven,Smiling=yes,Young=old");
}

TEST_F(CelebA, images_are_the_middle_made_smaller) {
  const io::Picture whole = io::read_picture(image(5));
  io::Picture middle{150, 150, 3, {}};  // left 14, top 34
  for (int64_t y = 34; y < 184; ++y)
    for (int64_t i = 14 * 3; i < 164 * 3; ++i)
      middle.pixels.push_back(whole.pixels[static_cast<size_t>(y * 178 * 3 + i)]);
  for (const int64_t size : {int64_t{64}, int64_t{32}}) {
    const Dataset set = load(Split::test, size == 64 ? "" : ":size=32");
    EXPECT_EQ(set.name, folder_.path().filename());
    std::vector<float> expected;
    for (const uint8_t level : resize(middle, size, size).pixels)
      expected.push_back(pixel_of_byte(level));
    EXPECT_EQ(set.images(std::vector<int64_t>{0}).to_vector(), expected);
  }
}

TEST_F(CelebA, options_say_size_and_count) {
  EXPECT_EQ(load(Split::train, ":count=2").size(), 2);
  const Dataset set = load(Split::test, ":size=16,count=9");
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.width, 16);
  for (const char* bad : {":size=7", ":size=151", ":size=", ":size=x", ":count=0", ":sizes=32",
                          ":size=32;count=2", ":count=2,,size=8"})
    expect_error([&] { load(Split::train, bad); }, "give size=N");
}

TEST_F(CelebA, one_split_serves_both) {
  put(partition_,
      "000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 1\n000005.jpg 1\n000006.jpg 1\n");
  const Dataset set = load(Split::test);
  EXPECT_EQ(set.size(), 2);
  EXPECT_FALSE(set.has_test);
}

TEST_F(CelebA, lists_that_do_not_fit_are_refused) {
  expect_refused(attributes_, "6\r\n", "7\r\n", "says 7 images and lists 6");
  expect_refused(attributes_, "6\r\n", "", "begin with the number of images");
  expect_refused(attributes_, "6\r\n", "-6\r\n", "begin with the number of images");
  expect_refused(attributes_, "Smiling", "Bald", "two attributes are named \"Bald\"");
  expect_refused(attributes_, "Smiling ", "", "line 3: 6 values for 5 attributes");
  expect_refused(attributes_, "000002.jpg  1  1", "000002.jpg  1", "line 4: 5 values");
  expect_refused(attributes_, "000002.jpg  1", "000002.jpg  0",
                 "line 4: 5_o_Clock_Shadow is \"0\"");
  expect_refused(attributes_, "000002.jpg  1", "000002.jpg  2", "it must be -1 or 1");
  expect_refused(attributes_, "000002", "000001", "\"000001.jpg\" is listed twice");
  expect_refused(partition_, "000002.jpg 0\n", "", "\"000002.jpg\" is not in");
  expect_refused(partition_, "000002.jpg", "000009.jpg", "line 2: \"000009.jpg\" is not in");
  expect_refused(partition_, "000002.jpg", "000001.jpg", "line 2: \"000001.jpg\" is listed twice");
  expect_refused(partition_, "000002.jpg 0", "000002.jpg 3", "line 2: it must be a file and 0, 1");
  expect_refused(partition_, "000002.jpg 0", "000002.jpg", "line 2: it must be a file and 0, 1");
  put(partition_, "");
  expect_error([&] { load(); }, "\"000001.jpg\" is not in");
  std::filesystem::remove(partition_);
  expect_error([&] { load(); }, "list_eval_partition.txt");
  put(attributes_, "");
  expect_error([&] { load(); }, "list_attr_celeba.txt");
  put(attributes_, "3\n");
  expect_error([&] { load(); }, "the names of the attributes are missing");
}

TEST_F(CelebA, damaged_images_are_refused) {
  const std::string good = get(image(2));
  put(image(2), good.substr(0, good.size() / 2));
  expect_error([&] { load(); }, "000002.jpg\" is a damaged JPEG file");
  put(image(2), "");
  expect_error([&] { load(); }, "000002.jpg");
  put(image(2), encode_jpeg(picture(2, 180)));
  expect_error([&] { load(); }, "000002.jpg\" is 218 x 180 x 3");
  put(image(2), encode_jpeg(picture(2, 178, 1)));
  expect_error([&] { load(); }, "000002.jpg\" is 218 x 178 x 1");
  std::filesystem::remove(image(2));
  expect_error([&] { load(); }, "000002.jpg");
  EXPECT_EQ(load(Split::train, ":count=1").size(), 1);  // what is not wanted is not looked at
}

}  // namespace
}  // namespace diffscm::data
