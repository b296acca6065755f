#include "data/image_folder.h"

#include "data/image_source.h"
#include "data/resize.h"
#include "data/splits.h"
#include "engine/io/picture_file.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/jpeg_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::encode_jpeg;
using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;

io::Picture picture(std::vector<uint8_t> pixels, int64_t channels = 1) {
  return {1, static_cast<int64_t>(pixels.size()) / channels, channels, pixels};
}

TEST(ImageFolder, classes_are_the_names_of_subfolders) {
  const TemporaryFolder folder;
  for (const char* name : {"0", "2", "notes"}) std::filesystem::create_directory(folder / name);
  write_png(folder / "2/b.png", picture({0, 255}));
  write_png(folder / "2/a.PNG", picture({255, 0}));
  write_png(folder / "0/c.png", picture({51, 51}));
  put(folder / "0/readme.txt", "not a picture");
  put(folder / ".DS_Store", "hidden");
  put(folder / "2/._a.png", "hidden");
  const Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.labels, (Index{0, 2, 2}));
  EXPECT_EQ(set.classes, 3);
  EXPECT_EQ(set.width, 2);
  EXPECT_EQ(set.attributes, std::vector{numbered_category("class", 3)});
  const std::string name = folder.path().filename();
  EXPECT_EQ(set.notes, (std::vector<std::string>{
                           "skipped 3 files, not PNG, JPEG or WebP pictures: \"" + name +
                               "/.DS_Store\", \"0/readme.txt\", \"2/._a.png\"",
                           "skipped 1 folder, hidden or without pictures: \"" + name + "/notes\"",
                           name + " has no training image of 1 of its 3 classes, among them 1"}));
  EXPECT_EQ(set.pixels, (std::vector<float>{51 / 127.5f - 1, 51 / 127.5f - 1, 1, -1, -1, 1}));
  write_png(folder / "2/z.png", picture({1, 2, 3}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "2/z.png");
  std::filesystem::remove(folder / "2/z.png");
  write_png(folder / "stray.png", picture({1, 2}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "stray.png");
}

TEST(ImageFolder, names_are_numbered_in_sorted_order) {
  const TemporaryFolder folder;
  const auto put_class = [&](const std::string& name) {
    std::filesystem::create_directories(folder / name);
    write_png(folder / (name + "/a.png"), picture({0, 255}));
  };
  for (const char* name : {"dog", "cat", "Zebra", "10", "9", ".thumbnails"}) put_class(name);
  Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.label_attribute().states,
            (std::vector<std::string>{"10", "9", "Zebra", "cat", "dog"}));
  EXPECT_EQ(set.labels, (Index{0, 1, 2, 3, 4}));  // no class is lost
  EXPECT_EQ(parse_assignment("class=cat", set.attributes), (Assignment{{"class", 3}}));
  // Leading zeros are a name: "01" and "1" are two classes.
  const TemporaryFolder zeros;
  for (const char* name : {"01", "1"}) {
    std::filesystem::create_directories(zeros / name);
    write_png(zeros / (std::string(name) + "/a.png"), picture({0, 255}));
  }
  EXPECT_EQ(load_dataset(zeros.path(), Split::train).classes, 2);
  put_class("caf\xe9");
  expect_error([&] { load_dataset(folder.path(), Split::train); },
               R"(class "caf\xe9" is not named in UTF-8)");
}

TEST(ImageFolder, labels_may_come_from_a_table) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", picture({1, 2, 3}, 3));
  write_png(folder / "b,c.png", picture({4, 5, 6}, 3));
  EXPECT_EQ(load_dataset(folder.path(), Split::train).classes, 0);
  put(folder / "labels.csv", "file,label\r\nb,c.png,7\r\na.png,1");
  const Dataset set = load_dataset(folder.path(), Split::test);
  EXPECT_EQ(set.labels, (Index{1, 7}));
  EXPECT_EQ(set.channels, 3);
  const auto refuse = [&](const char* table, const char* message) {
    put(folder / "labels.csv", table);
    expect_error([&] { load_dataset(folder.path(), Split::train); }, message);
  };
  refuse("a.png,1\n", "b,c.png\" is not listed in");
  refuse("a.png,1\na.png,2\n", "line 2: \"a.png\" has two labels");
  refuse("a.png,1\nb,c.png,-2\n", "line 2");
  refuse("a.png,1\nb,c.png,x\n", "line 2");
  refuse("a.png,1\nnonsense\n", "line 2");
  refuse("a.png,1\nb,c.png,\n", "line 2");
  refuse("a.png,1\nb,c.png,x\n", "line 2: classes \"1\" and \"x\"");
  put(folder / "labels.csv", "picture,animal\na.png,dog\nb,c.png,cat\nz.png,cat\n");
  const Dataset named = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(named.label_attribute(), (Attribute{.name = "animal", .states = {"cat", "dog"}}));
  EXPECT_EQ(named.labels, (Index{1, 0}));
  EXPECT_NE(named.notes.at(0).find("lists 1 file that is not there: \"z.png\""), std::string::npos);
}

TEST(ImageFolder, train_and_test_subfolders) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "train/1");
  std::filesystem::create_directories(folder / "test/0");
  write_png(folder / "train/1/a.png", picture({1}));
  expect_error([&] { load_dataset(folder.path(), Split::test); }, "nor PNG, JPEG or WebP files");
  write_png(folder / "test/0/a.png", picture({1}));
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{1});
  EXPECT_EQ(load_dataset(folder.path(), Split::test).labels, Index{0});
  EXPECT_EQ(load_dataset(folder.path(), Split::test).classes, 2);
  EXPECT_EQ(load_dataset(folder.path().string() + "//", Split::test).name,
            folder.path().filename());
  // Both splits number their names alike, although neither has them all.
  std::filesystem::rename(folder / "train/1", folder / "train/dog");
  std::filesystem::rename(folder / "test/0", folder / "test/cat");
  for (const Split split : {Split::train, Split::test}) {
    const Dataset set = load_dataset(folder.path(), split);
    EXPECT_TRUE(set.has_test);
    EXPECT_EQ(set.label_attribute().states, (std::vector<std::string>{"cat", "dog"}));
    EXPECT_EQ(set.labels, Index{split == Split::train ? 1 : 0});
  }
  std::filesystem::create_directory(folder / "validation");
  EXPECT_NE(load_dataset(folder.path(), Split::test).notes.at(0).find("validation"),
            std::string::npos);
  std::filesystem::remove_all(folder / "test");
  const Dataset again = load_dataset(folder.path(), Split::test);
  EXPECT_FALSE(again.has_test);
  EXPECT_EQ(again.label_attribute().states, std::vector<std::string>{"dog"});
  EXPECT_NE(again.notes.back().find("no test data of its own"), std::string::npos);
  // With pictures in it, "train" is a class among others.
  write_png(folder / "train/a.png", picture({1}));
  std::filesystem::remove_all(folder / "train/dog");
  std::filesystem::create_directory(folder / "bus");
  write_png(folder / "bus/a.png", picture({1}));
  EXPECT_EQ(load_dataset(folder.path(), Split::train).label_attribute().states,
            (std::vector<std::string>{"bus", "train"}));
}

io::Picture smooth(int64_t height, int64_t width, int k, int64_t channels = 3) {
  io::Picture picture{height, width, channels, {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c)
        picture.pixels.push_back(static_cast<uint8_t>(2 * x + 3 * y + 40 * c + 20 * k));
  return picture;
}

class ImageNet : public ::testing::Test {
 protected:
  ImageNet() {
    int k = 0;
    for (const char* folder : {"train/n01440764", "train/n02012849", "train/n03126707",
                               "val/n02012849", "val/n03126707"}) {
      std::filesystem::create_directories(folder_ / folder);
      for (const char* name : {"/a.JPEG", "/b.JPEG"})
        put(folder_ / (folder + std::string(name)), encode_jpeg(smooth(40 + k, 55 - 2 * k, k)));
      ++k;
    }
  }
  Dataset load(Split split, const std::string& options = ":size=16") const {
    return load_dataset(folder_.path().string() + options, split);
  }
  TemporaryFolder folder_;
};

TEST_F(ImageNet, is_read_as_it_is_unpacked) {
  const Dataset train = load(Split::train), val = load(Split::test);
  EXPECT_EQ(train.name, folder_.path().filename());
  EXPECT_EQ(train.size(), 6);
  EXPECT_EQ(train.labels, (Index{0, 0, 1, 1, 2, 2}));
  EXPECT_TRUE(val.has_test);
  EXPECT_EQ(val.labels, (Index{1, 1, 2, 2}));
  EXPECT_EQ(val.attributes, train.attributes);
  EXPECT_EQ(val.label_attribute().states,
            (std::vector<std::string>{"n01440764", "n02012849", "n03126707"}));
  const io::Picture square =
      centre_square(io::read_picture(folder_ / "train/n02012849/b.JPEG"), 16);
  std::vector<float> expected;
  for (const uint8_t level : square.pixels) expected.push_back(pixel_of_byte(level));
  EXPECT_EQ(train.images(Index{3}).to_vector(), expected);
  EXPECT_EQ(load(Split::train, ":size=16,memory=0").images(Index{3}).to_vector(), expected);
}

TEST_F(ImageNet, classes_get_their_names) {
  put(folder_ / "LOC_synset_mapping.txt",
      "n00000001 kit fox\nn01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n");
  for (const Split split : {Split::train, Split::test})
    EXPECT_EQ(load(split).label_attribute().states,
              (std::vector<std::string>{"tench", "crane (n02012849)", "crane (n03126707)"}));
  for (const std::string& note : load(Split::train).notes)
    EXPECT_EQ(note.find("synset"), std::string::npos) << note;
  // classes.txt comes first; names alone go by the order of the folders.
  put(folder_ / "classes.txt", "fish\r\nbird of prey\r\nmachine\r\n");
  EXPECT_EQ(load(Split::train).label_attribute().states,
            (std::vector<std::string>{"fish", "bird of prey", "machine"}));
  put(folder_ / "classes.txt", "n01440764\tfish\nn02012849\tbird\n");
  expect_error([&] { load(Split::train); }, "has no line for \"n03126707\"");
  put(folder_ / "classes.txt", "fish\nbird\n");
  expect_error([&] { load(Split::train); }, "has 2 lines for 3 classes");
  put(folder_ / "classes.txt", "fish\nfish (n01440764)\nfish\n");
  expect_error([&] { load(Split::train); }, "names several classes alike");
  put(folder_ / "classes.txt", "n03126707\nn02012849\nn01440764\n");  // says nothing new
  EXPECT_EQ(load(Split::train).label_attribute().states[0], "n01440764");
}

TEST_F(ImageNet, what_has_no_classes_does_not_replace_what_has) {
  std::filesystem::create_directory(folder_ / "test");  // as ImageNet's: without labels
  put(folder_ / "test/x.JPEG", encode_jpeg(smooth(40, 40, 1)));
  EXPECT_EQ(load(Split::test).size(), 4);
}

TEST_F(ImageNet, sizes_and_colours_are_made_alike) {
  expect_error([&] { load(Split::train, ""); }, "give size=N");
  put(folder_ / "train/n02012849/a.JPEG", encode_jpeg(smooth(20, 20, 0, 1)));
  const std::vector<float> grey = load(Split::train).images(Index{2}).to_vector();
  for (size_t i = 0; i < grey.size(); ++i) ASSERT_EQ(grey[i], grey[i / 3 * 3]);
  EXPECT_EQ(load(Split::train, ":size=16,channels=1").channels, 1);
  put(folder_ / "train/n01440764/a.JPEG", encode_jpeg(smooth(20, 20, 0, 1)));
  expect_error([&] { load(Split::train); }, "give channels=3 or channels=1");
  EXPECT_EQ(load(Split::train, ":size=16,channels=3").channels, 3);
  // Pillow: Image.new("RGB", (1, 1), (200, 100, 50)).convert("L")
  const TemporaryFolder one;
  write_png(one / "a.png", picture({200, 100, 50}, 3));
  EXPECT_EQ(load_dataset(one.path().string() + ":channels=1", Split::train).pixels,
            std::vector<float>{pixel_of_byte(124)});
  for (const char* bad :
       {":size=7", ":sizes=16", ":size=16,", ":channels=2", ":memory=-1", ":size=32,size=16"})
    expect_error([&] { load(Split::train, bad); }, "give");
}

TEST_F(ImageNet, images_that_do_not_fit_are_decoded_when_they_are_needed) {
  const Dataset memory = load(Split::train), streamed = load(Split::train, ":size=16,memory=0");
  EXPECT_FALSE(memory.pixels.empty());
  EXPECT_TRUE(streamed.pixels.empty());
  EXPECT_NE(streamed.notes.at(0).find("decoded as they are needed"), std::string::npos);
  const Index index{5, 0, 3, 3};
  EXPECT_EQ(streamed.images(index).to_vector(), memory.images(index).to_vector());
  const std::string checksum = memory.source->checksum();
  EXPECT_EQ(streamed.source->checksum(), checksum);
  // Of a damaged file only those hear who want its image.
  put(folder_ / "train/n02012849/a.JPEG", "\xff\xd8");
  expect_error([&] { load(Split::train); }, "n02012849/a.JPEG");
  const Dataset damaged = load(Split::train, ":size=16,memory=0");
  EXPECT_EQ(damaged.images(Index{3}).to_vector(), memory.images(Index{3}).to_vector());
  expect_error([&] { damaged.images(Index{3, 2}); }, "n02012849/a.JPEG");
  EXPECT_NE(damaged.source->checksum(), checksum);
}

TEST_F(ImageNet, both_splits_at_once) {
  for (const char* options : {":size=16", ":size=16,memory=0"}) {
    const std::string spec = folder_.path().string() + options;
    const Splits both = load_splits(spec);
    for (const auto& [set, split] :
         {std::pair{&both.train, Split::train}, std::pair{&both.test, Split::test}}) {
      const Dataset alone = load_dataset(spec, split);
      EXPECT_EQ(set->name, alone.name);
      EXPECT_EQ(set->notes, alone.notes);
      EXPECT_EQ(set->attributes, alone.attributes);
      EXPECT_EQ(set->labels, alone.labels);
      EXPECT_EQ(set->has_test, alone.has_test);
      EXPECT_EQ(set->images(Index{3, 1}).to_vector(), alone.images(Index{3, 1}).to_vector());
    }
  }
}

// One source, and so one cache of decoded images, where there are no images to test on.
TEST_F(ImageNet, without_test_images_both_splits_share_theirs) {
  const Splits both = load_splits(folder_.path() / "train:size=16,memory=0");
  EXPECT_EQ(both.train.source, both.test.source);
  EXPECT_FALSE(both.test.has_test);
  EXPECT_EQ(both.test.notes,
            load_dataset(folder_.path() / "train:size=16,memory=0", Split::test).notes);
}

// 60 images of 64 x 64: 1 MiB holds them as bytes, not as floating-point numbers.
TEST(ImageSource, decoded_images_are_kept) {
  const TemporaryFolder folder;
  const auto file = [&](int64_t i) { return folder / fmt::format("{}.jpg", i); };
  Index all;
  for (int i = 0; i < 60; ++i) {
    put(file(i), encode_jpeg(smooth(64, 64, i)));
    all.push_back(i);
  }
  const Dataset set = load_dataset(folder.path().string() + ":size=64,memory=1", Split::train);
  ASSERT_TRUE(set.pixels.empty());
  const std::vector<float> before = set.images(all).to_vector();
  for (const int64_t i : all) put(file(i), "");
  EXPECT_EQ(set.images(all).to_vector(), before);
}

TEST(ImageFolder, two_files_of_one_stem_are_refused) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", picture({1, 2, 3}, 3));
  put(folder / "a.jpg", encode_jpeg(smooth(1, 1, 0)));
  expect_error([&] { load_dataset(folder.path(), Split::train); },
               "holds both \"a.jpg\" and \"a.png\"");
  // In the folder of a class too.
  const TemporaryFolder classes;
  std::filesystem::create_directory(classes / "cat");
  write_png(classes / "cat/a.png", picture({1}));
  write_png(classes / "cat/a.jpg", picture({1}));
  expect_error([&] { load_dataset(classes.path(), Split::train); }, "a.png");
}

TEST(ImageFolder, tables_may_leave_out_the_ending) {
  const TemporaryFolder folder;
  put(folder / "a.1.jpg", encode_jpeg(smooth(8, 8, 0)));
  put(folder / "b.jpg", encode_jpeg(smooth(8, 8, 1)));
  put(folder / "labels.csv", "id,animal,weight\nb,cat,2.5\na.1,dog,30\n");
  const Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.labels, (Index{1, 0}));
  EXPECT_EQ(set.values[1], (std::vector<double>{30, 2.5}));
}

TEST(ImageFolder, bad_pictures_are_named) {
  const TemporaryFolder folder;
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "neither IDX files");
  put(folder / "a.png", "GIF89a");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "a.png");
}

}  // namespace
}  // namespace diffscm::data
