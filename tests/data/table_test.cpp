#include "data/table.h"

#include <cmath>

#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::TemporaryFolder;

const std::vector<Attribute> kWanted = {{.name = "pet", .states = {"cat", "dog, \"wet\""}},
                                        {.name = "age", .low = 0}};

Table read(std::string_view text) {
  return to_table(parse_csv(text, "t.csv"), kWanted, "t.csv");
}

TEST(Csv, quotes_blanks_and_line_ends) {
  const Csv csv = parse_csv(
      "\xef\xbb\xbf"
      "a, \"b\" ,\"c\"\"d\"\r\n\r\n 1 ,\"two\nlines\",\"\"\n\n\"x\",, \t y\t",
      "t.csv");
  EXPECT_EQ(csv.names, (std::vector<std::string>{"a", "b", "c\"d"}));
  ASSERT_EQ(csv.rows(), 2);
  EXPECT_EQ(csv.cell(0, 0), "1");
  EXPECT_EQ(csv.cell(0, 1), "two\nlines");
  EXPECT_EQ(csv.cell(0, 2), "");
  EXPECT_EQ(csv.cell(1, 0), "x");
  EXPECT_EQ(csv.cell(1, 1), "");
  EXPECT_EQ(csv.cell(1, 2), "y");
  EXPECT_EQ(csv.lines, (std::vector<int64_t>{3, 6}));
}

TEST(Csv, says_which_line_is_wrong) {
  const auto parse = [](std::string_view text) { return [text] { parse_csv(text, "t.csv"); }; };
  expect_error(parse(""), "t.csv is empty");
  expect_error(parse("\n\n"), "t.csv is empty");
  expect_error(parse("a,b\n1,2\n3\n"), "t.csv: line 3 has 1 cells, the first line 2");
  expect_error(parse("a,b\n1,2,3\n"), "line 2 has 3 cells");
  expect_error(parse("a\n\"x\" y\n"), "line 2 has text beside a quoted cell");
  expect_error(parse("a\nx\n\"y\n\n"), "the quote opened in line 3 does not close");
  expect_error(parse("a,b,a\n"), R"(line 1 names the column "a" twice)");
}

TEST(Table, cells_are_states_numbers_or_missing) {
  const Table table = read("age,other,pet\n3.5,x,cat\n,y,\"dog, \"\"wet\"\"\"\nNaN,z,na\n");
  ASSERT_EQ(table.rows(), 3);
  EXPECT_EQ(table.columns().size(), 2u);
  EXPECT_EQ(table.find("pet")->values.numbers[1], 1);
  EXPECT_EQ(table.find("age")->values.numbers[0], 3.5);
  EXPECT_TRUE(std::isnan(table.find("age")->values.numbers[1]));
  EXPECT_TRUE(std::isnan(table.find("pet")->values.numbers[2]));
  EXPECT_EQ(table.complete_rows(), (std::vector<int64_t>{0}));
  EXPECT_EQ(table.find("other"), nullptr);
  expect_error([] { read("pet\ncat\n"); }, R"(t.csv has no column "age": give "pet")");
  expect_error([] { read("pet,age\ncat,1\ncow,2\n"); }, R"(t.csv: line 3: pet "cow" is unknown)");
  expect_error([] { read("pet,age\ncat,-1\n"); }, "line 2: age is -1: give a number from 0");
  const std::vector<Attribute> named_na = {{.name = "pet", .states = {"NA", "cat"}}};
  EXPECT_EQ(to_table(parse_csv("pet\nNA\n", ""), named_na, "").find("pet")->values.numbers[0], 0);
}

TEST(Table, goes_through_files_unchanged) {
  Table table;
  table.add(kWanted[0], Values({0, 1, 1}));
  table.add(kWanted[1], Values({0.1, NAN, 1e-300}));
  EXPECT_EQ(to_csv(table),
            "pet,age\ncat,0.1\n\"dog, \"\"wet\"\"\",\n\"dog, \"\"wet\"\"\",1e-300\n");
  const TemporaryFolder folder;
  for (const char* name : {"t.csv", "t.npz", "T.CSV", "T.Npz"}) {
    write_table(folder / name, table);
    const Table again = read_table(folder / name, kWanted);
    for (int64_t row = 0; row < 3; ++row)
      for (size_t c = 0; c < 2; ++c)
        EXPECT_TRUE(again.columns()[c].values.row_equals(row, table.columns()[c].values));
  }
  Table images;
  images.add({.name = "x"}, Values(Tensor::full({3, 2, 2, 1}, 0.5f)));
  write_table(folder / "i.npz", images);
  const std::vector<Attribute> wanted = {{.name = "x"}};
  EXPECT_EQ(read_table(folder / "i.npz", wanted).find("x")->values.images.shape(),
            (Shape{3, 2, 2, 1}));
  expect_error([&] { write_table(folder / "i.csv", images); }, "CSV cannot hold column \"x\"");
  expect_error([&] { write_table(folder / "t.txt", table); }, "is not a table");
  expect_error([&] { read_table(folder / "t.npz", wanted); }, R"(has no column "x": give "age")");
  expect_error([&] { table.add(kWanted[0], Values({1, 2, 3})); }, R"(two columns "pet")");
  expect_error([&] { table.add({.name = "z"}, Values({1, 2})); }, R"("z" has 2 rows)");
}

TEST(Values, rows_are_selected_and_put_back) {
  const Values wide({0, 1, 2, 3, 4, 5}, 2);
  Values two = wide.select(std::vector<int64_t>{2, 0});
  EXPECT_EQ(two.numbers, (std::vector<double>{4, 5, 0, 1}));
  Values all({9, 9, 9, 9, 9, 9}, 2);
  all.assign(std::vector<int64_t>{1, 2}, two);
  EXPECT_EQ(all.numbers, (std::vector<double>{9, 9, 4, 5, 0, 1}));
  EXPECT_TRUE(two.row_equals(1, wide) == false && wide.row_equals(0, wide));
  const std::vector<float> pixels = {1, 2, 3, 4, 5, 6};
  Values images(Tensor::from(std::span(pixels), {3, 1, 2, 1}));
  Values last = images.select(std::vector<int64_t>{2});
  EXPECT_EQ(last.images.to_vector(), (std::vector<float>{5, 6}));
  images.assign(std::vector<int64_t>{0}, last);
  EXPECT_TRUE(images.row_equals(2, images));
  EXPECT_EQ(images.images.to_vector(), (std::vector<float>{5, 6, 3, 4, 5, 6}));
  expect_error([&] { wide.select(std::vector<int64_t>{3}); }, "row 3 of 3");
}

}  // namespace
}  // namespace diffscm::data
