#include "data/tar_shards.h"

#include "data/image_source.h"
#include "data/splits.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/jpeg_testing.h"
#include "tests/engine/tar_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::encode_jpeg;
using diffscm::testing::expect_error;
using diffscm::testing::make_tar;
using diffscm::testing::put;
using diffscm::testing::TarEntry;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;

std::string jpeg(int k) {
  io::Picture picture{20, 24, 3, {}};
  for (int64_t i = 0; i < 20 * 24 * 3; ++i)
    picture.pixels.push_back(static_cast<uint8_t>(i / 8 + 15 * k));
  return encode_jpeg(picture);
}

class Shards : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::vector<TarEntry>& entries) const {
    put(folder_ / name, make_tar(entries));
  }
  Dataset load(const std::string& spec, Split split = Split::train) const {
    return load_dataset((folder_ / spec).string(), split);
  }
  TemporaryFolder folder_;
};

TEST_F(Shards, samples_are_members_of_one_key) {
  write("cats-000.tar", {{"x/a.jpg", jpeg(0)},
                         {"x/a.cls", "2\n"},
                         {"x/a.json", R"({"age": 3.5, "tame": true, "box": [1, 2], "n": 1})"},
                         {"x/b.jpg", jpeg(1)},
                         {"x/b.seg.png", "another kind"},
                         {"x/b.cls", "0"},
                         {"x/b.json", R"({"age": 12, "tame": false, "box": [], "n": 2})"},
                         {"x/._c.jpg", "of macOS"},
                         {"x/readme.txt", "hello"}});
  write("cats-001.tar", {{"c.json", R"({"age": 7, "tame": false, "n": 1, "more": 2})"},
                         {"c.cls", "2"},
                         {"c.jpeg", jpeg(2)}});
  const Dataset set = load("cats-{000..001}.tar:size=16");
  EXPECT_EQ(set.name, "cats");
  EXPECT_EQ(set.size(), 3);
  EXPECT_FALSE(set.has_test);
  EXPECT_EQ(set.labels, (Index{2, 0, 2}));
  ASSERT_EQ(set.attributes.size(), 4u);
  EXPECT_EQ(set.attributes[0], numbered_category("class", 3));
  EXPECT_EQ(set.attributes[1].name, "age");
  EXPECT_EQ(set.values[1], (std::vector<double>{3.5, 12, 7}));
  EXPECT_EQ(set.attributes[2].states, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(set.attributes[3], (Attribute{.name = "tame", .states = {"false", "true"}}));
  std::string notes;
  for (const std::string& note : set.notes) notes += note + "\n";
  for (const char* part : {R"("box" of the .json members is not read: it is no number)",
                           R"("more" of the .json members is not read: some samples lack it)",
                           "skipped 3 members", "readme.txt"})
    EXPECT_NE(notes.find(part), std::string::npos) << part << " in " << notes;
  // The same images in a folder, and one by one from the archives.
  const TemporaryFolder files;
  for (int k = 0; k < 3; ++k) put(files / (std::to_string(k) + ".jpg"), jpeg(k));
  const Dataset expected = load_dataset(files.path().string() + ":size=16", Split::train);
  EXPECT_EQ(set.pixels, expected.pixels);
  EXPECT_EQ(load("cats-{000..001}.tar:size=16,memory=0").images(Index{2, 0}).to_vector(),
            expected.images(Index{2, 0}).to_vector());
  EXPECT_EQ(load("cats-001.tar").size(), 1);
}

TEST_F(Shards, endings_may_be_in_capitals) {
  write("CATS.TAR", {{"A.JPG", jpeg(0)}, {"A.CLS", "1"}, {"A.JSON", R"({"age": 3})"}});
  for (const char* spec : {"CATS.TAR", "CATS.TAR:size=16", "."}) {
    const Dataset set = load(spec);
    EXPECT_EQ(set.labels, Index{1}) << spec;
    EXPECT_EQ(set.attributes.at(1).name, "age") << spec;
  }
}

TEST_F(Shards, folders_hold_splits) {
  write("w-train-0.tar", {{"a.jpg", jpeg(0)}, {"a.cls", "dog"}});
  write("w-train-1.tar", {{"b.jpg", jpeg(1)}, {"b.cls", "cat"}});
  write("w-val-0.tar", {{"c.jpg", jpeg(2)}, {"c.cls", "dog"}});
  const Dataset train = load(""), test = load("", Split::test);
  EXPECT_EQ(train.size(), 2);
  EXPECT_EQ(test.size(), 1);
  EXPECT_TRUE(test.has_test);
  EXPECT_EQ(test.label_attribute().states, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(test.labels, Index{1});
  const Splits both = load_splits(folder_.path());
  EXPECT_EQ(both.train.labels, train.labels);
  EXPECT_EQ(both.test.labels, test.labels);
  EXPECT_EQ(both.test.images(Index{0}).to_vector(), test.images(Index{0}).to_vector());
  for (const char* split : {"train", "validation"}) {
    std::filesystem::create_directory(folder_ / split);
    write(std::string(split) + "/0.tar", {{"c.jpg", jpeg(2)}, {"c.cls", "1"}});
  }
  for (const char* name : {"w-train-0.tar", "w-train-1.tar", "w-val-0.tar"})
    std::filesystem::remove(folder_ / name);
  EXPECT_EQ(load(":size=8", Split::test).labels, Index{1});
  EXPECT_TRUE(load("", Split::test).has_test);
  put(folder_ / "classes.txt", "zero\none\n");
  EXPECT_EQ(load("").label_attribute().states, (std::vector<std::string>{"zero", "one"}));
}

// Neither the folder's name nor a part of a word says what is in it.
TEST_F(Shards, splits_are_whole_words) {
  std::filesystem::create_directory(folder_ / "latest-train");
  write("latest-train/latest-0.tar", {{"a.jpg", jpeg(0)}});
  write("latest-train/val.tar", {{"b.jpg", jpeg(0)}});
  const Dataset set = load("latest-train");
  EXPECT_EQ(set.size(), 2);
  EXPECT_FALSE(set.has_test);
}

TEST_F(Shards, captions_are_no_categories) {
  std::vector<TarEntry> entries;
  for (int i = 0; i < 30; ++i) {
    const std::string key = std::to_string(i);
    entries.push_back({key + ".jpg", jpeg(i)});
    entries.push_back({key + ".json", R"({"caption": "picture )" + key + R"(", "kind": "x"})"});
  }
  write("a.tar", entries);
  const Dataset set = load("a.tar");
  ASSERT_EQ(set.attributes.size(), 1u);
  EXPECT_EQ(set.attributes[0].name, "kind");
}

TEST_F(Shards, bad_samples_are_named) {
  const auto refuse = [&](const std::vector<TarEntry>& entries, std::string_view message) {
    write("a.tar", entries);
    expect_error([&] { load("a.tar"); }, message);
  };
  refuse({{"a.jpg", jpeg(0)}, {"a.png", jpeg(0)}}, R"(sample "a" has two pictures, "a.jpg" and)");
  refuse({{"a.jpg", jpeg(0)}, {"b.jpg", jpeg(0)}, {"b.cls", "1"}}, "sample \"b\": some samples");
  refuse({{"a.jpg", jpeg(0)}, {"a.cls", "1"}, {"b.jpg", jpeg(0)}}, "sample \"b\": some samples");
  refuse({{"a.jpg", jpeg(0)}, {"a.json", "[1]"}}, "sample \"a\": the .json is no JSON object");
  refuse({{"a.jpg", jpeg(0)}, {"a.json", std::string(100000, '[')}}, "is no JSON object");
  refuse({{"a.txt", "no picture"}}, "holds no PNG, JPEG or WebP files");
  refuse({{"a.jpg", jpeg(0).substr(0, 300)}}, "\"a.jpg\" in \"" + (folder_ / "a.tar").string());
  refuse({{"a.jpg", jpeg(0)}, {"a.cls", "caf\xe9"}}, "not named in UTF-8");
}

TEST(ShardNames, braces_are_a_range) {
  using Files = std::vector<std::filesystem::path>;
  EXPECT_EQ(expand_shards("a/x-{08..11}.tar"),
            (Files{"a/x-08.tar", "a/x-09.tar", "a/x-10.tar", "a/x-11.tar"}));
  EXPECT_EQ(expand_shards("a.tar"), Files{"a.tar"});
  for (const char* bad : {"{0..}.tar", "{a..b}.tar", "{0.1}.tar", "{0..1.tar", "{0..1}{0..1}.tar",
                          "{3..1}.tar", "{0..99999999}.tar", "{-1..3}.tar"})
    expect_error([&] { expand_shards(bad); }, bad);
  expect_error([&] { load_dataset("/nowhere/x-{0..1}.tar", Split::train); }, "/nowhere/x-0.tar");
}

}  // namespace
}  // namespace diffscm::data
