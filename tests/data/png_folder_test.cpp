#include "data/png_folder.h"

#include "engine/io/png.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;

io::Picture picture(std::vector<uint8_t> pixels, int64_t channels = 1) {
  return {1, static_cast<int64_t>(pixels.size()) / channels, channels, pixels};
}

TEST(PngFolder, classes_are_the_names_of_subfolders) {
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
  EXPECT_EQ(set.notes,
            (std::vector<std::string>{
                "skipped 3 files, not PNG pictures: \"" + name +
                    "/.DS_Store\", \"0/readme.txt\", \"2/._a.png\"",
                "skipped 1 folder, hidden or without PNG pictures: \"" + name + "/notes\"",
                name + " has no training image of 1 of its 3 classes, among them 1"}));
  EXPECT_EQ(set.pixels, (std::vector<float>{51 / 127.5f - 1, 51 / 127.5f - 1, 1, -1, -1, 1}));
  write_png(folder / "2/z.png", picture({1, 2, 3}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "2/z.png");
  std::filesystem::remove(folder / "2/z.png");
  write_png(folder / "stray.png", picture({1, 2}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "stray.png");
}

TEST(PngFolder, names_are_numbered_in_sorted_order) {
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

TEST(PngFolder, labels_may_come_from_a_table) {
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
  EXPECT_NE(named.notes.at(0).find("lists 1 files that are not there"), std::string::npos);
}

TEST(PngFolder, train_and_test_subfolders) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "train/1");
  std::filesystem::create_directories(folder / "test/0");
  write_png(folder / "train/1/a.png", picture({1}));
  expect_error([&] { load_dataset(folder.path(), Split::test); }, "nor PNG files");
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

TEST(PngFolder, bad_pictures_are_named) {
  const TemporaryFolder folder;
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "neither IDX files");
  put(folder / "a.png", "GIF89a");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "a.png");
}

}  // namespace
}  // namespace diffscm::data
