// Tables: named columns of one length. A cell is a number, the index of a category's state, or an
// image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/attribute.h"
#include "engine/tensor.h"

namespace diffscm::data {

// One value per row: `width` numbers (a category's state by its index; NaN: missing), or an image.
struct Values {
  std::vector<double> numbers;  // [rows, width]; empty for images
  int64_t width = 1;
  Tensor images;  // [rows, H, W, C]; null for numbers

  Values() = default;
  explicit Values(std::vector<double> numbers_, int64_t width_ = 1)
      : numbers(std::move(numbers_)), width(width_) {}
  explicit Values(Tensor images_) : images(std::move(images_)) {}

  bool is_image() const { return static_cast<bool>(images); }
  int64_t rows() const;
  // The rows in that order, repetitions included. Images come on the cpu target.
  Values select(std::span<const int64_t> rows) const;
  // The inverse: row rows[i] becomes row i of `from`. Both on the cpu target.
  void assign(std::span<const int64_t> rows, const Values& from);
  // Bit for bit, so that a missing number equals itself.
  bool row_equals(int64_t row, const Values& other) const;
};

struct Column {
  Attribute attribute;
  Values values;
};

class Table {
 public:
  // Throws Error on a second column of that name and on another number of rows.
  void add(Attribute attribute, Values values);
  const std::vector<Column>& columns() const { return columns_; }
  // Null when there is none of that name.
  const Column* find(std::string_view name) const;
  int64_t rows() const { return columns_.empty() ? 0 : columns_.front().values.rows(); }
  Table select(std::span<const int64_t> rows) const;
  // Rows without a missing number.
  std::vector<int64_t> complete_rows() const;

 private:
  std::vector<Column> columns_;
};

// The text of a CSV file (RFC 4180: commas, double quotes, CRLF or LF) whose first line names the
// columns. Cells without quotes lose the blanks around them; empty lines are skipped.
struct Csv {
  std::vector<char> text;  // what the cells point into
  std::vector<std::string> names;
  std::vector<std::string_view> cells;  // [rows, names]
  std::vector<int64_t> lines;           // where each row begins, from 1

  int64_t rows() const { return static_cast<int64_t>(lines.size()); }
  std::string_view cell(int64_t row, size_t column) const {
    return cells[static_cast<size_t>(row) * names.size() + column];
  }
  Csv() = default;
  Csv(Csv&&) = default;
  Csv& operator=(Csv&&) = default;
};

// Throws Error naming `where` and the line: no header, a name twice, a quote that does not close,
// text beside a quote, a line with more or fewer cells than the header.
Csv parse_csv(std::string_view text, std::string_view where);
Csv read_csv(const std::filesystem::path& path);

// An empty cell, NA and NaN are missing, unless a state is called so.
bool is_missing(std::string_view cell, const Attribute& attribute);

// The columns of those names, parsed as `wanted` says. Throws Error naming `where` and the column
// that is not there, or the line, column and cell that cannot be used.
Table to_table(const Csv& csv, std::span<const Attribute> wanted, std::string_view where);

// A .csv, or an .npz with one array per column: [N] numbers or [N, H, W, C] images. Only what is
// wanted is read. Throws Error as to_table does.
Table read_table(const std::filesystem::path& path, std::span<const Attribute> wanted);

// By its ending, .csv or .npz, atomic. CSV has states by name, numbers in as few digits as say
// them, missing ones empty; it cannot hold images. npz has float64 numbers, states by index, NaN
// for missing ones.
void write_table(const std::filesystem::path& path, const Table& table);
std::string to_csv(const Table& table);

}  // namespace diffscm::data
