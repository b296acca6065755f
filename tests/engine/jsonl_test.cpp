#include "engine/io/jsonl.h"

#include <cmath>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

TEST(Jsonl, lines_arrive_at_once_in_the_order_of_their_keys) {
  const TemporaryFolder folder;
  JsonlWriter writer(folder / "r.jsonl");
  writer.write({{"step", 1}, {"loss", 0.5}});
  EXPECT_EQ(get(folder / "r.jsonl"), "{\"step\":1,\"loss\":0.5}\n");
  writer.write({{"step", 2}, {"loss", NAN}, {"text", "a\nb\xff"}});
  EXPECT_EQ(get(folder / "r.jsonl"),
            "{\"step\":1,\"loss\":0.5}\n"
            "{\"step\":2,\"loss\":null,\"text\":\"a\\nb\xef\xbf\xbd\"}\n");
}

TEST(Jsonl, create_empties_and_resume_keeps_whole_lines) {
  const TemporaryFolder folder;
  const auto path = folder / "r.jsonl";
  const auto resumed = [&](const std::string& before) {
    put(path, before);
    JsonlWriter(path, JsonlWriter::Mode::resume).write(3);
    return get(path);
  };
  EXPECT_EQ(resumed("1\n2\n"), "1\n2\n3\n");
  EXPECT_EQ(resumed("1\n{\"torn\": "), "1\n3\n");
  EXPECT_EQ(resumed("torn"), "3\n");
  EXPECT_EQ(resumed(""), "3\n");
  const std::string line = "\"" + std::string(70000, 'x') + "\"\n";  // longer than one read
  EXPECT_EQ(resumed(line + std::string(200000, 'y')), line + "3\n");
  JsonlWriter(path).write(4);
  EXPECT_EQ(get(path), "4\n");
  std::filesystem::remove(path);
  JsonlWriter(path, JsonlWriter::Mode::resume).write(5);
  EXPECT_EQ(get(path), "5\n");
}

TEST(Jsonl, reads_whole_lines) {
  const TemporaryFolder folder;
  put(folder / "r", "{\"a\": 1}\n[2]\n{\"torn\"");
  const auto values = read_jsonl(folder / "r");
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0]["a"], 1);
  put(folder / "r", "1\nnot json\n");
  expect_error([&] { read_jsonl(folder / "r"); }, "line 2");
  put(folder / "r", "1\n\n2\n");
  expect_error([&] { read_jsonl(folder / "r"); }, "line 2");
  put(folder / "r", std::string(1'000'000, '[') + "\n");
  expect_error([&] { read_jsonl(folder / "r"); }, "deeper");
  expect_bit_flips_survived(folder / "r", "{\"a\": [1, 2.5e3, \"x\"]}\n",
                            [&] { read_jsonl(folder / "r"); });
}

TEST(Jsonl, refuses_folders) {
  const TemporaryFolder folder;
  expect_error([&] { JsonlWriter writer(folder.path()); }, "is a directory");
  expect_error([&] { JsonlWriter writer(folder / "absent/r"); }, "absent/r");
  expect_error([&] { read_jsonl(folder.path()); }, "is a directory");
}

}  // namespace
}  // namespace diffscm::io
