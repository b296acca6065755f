#include "data/table.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/npz.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

int64_t row_size(const Tensor& images) {
  return images.numel() / std::max<int64_t>(images.dim(0), 1);
}

void copy_row(const Tensor& source, int64_t from, Tensor& target, int64_t to) {
  const int64_t size = row_size(source);
  std::memcpy(target.mutable_data() + to * size, source.data() + from * size,
              static_cast<size_t>(size) * sizeof(float));
}

// What a column may be, before it is read.
void check(const io::NpyKind& kind, const Attribute& attribute, const std::string& where) {
  const bool images = kind.shape.size() == 4;
  require(!images || !attribute.is_category(), "{} has shape {}: give [rows] states", where,
          to_string(kind.shape));
  require(images || kind.shape.size() == 1, "{} has shape {}: give [rows] or [rows, H, W, C]",
          where, to_string(kind.shape));
  io::require_fits(kind, images ? sizeof(float) : sizeof(double), where);
}

Values values_of(const io::NpyArray& array, const Attribute& attribute, const std::string& where) {
  if (array.shape.size() == 4) return Values(Tensor::from(array.to_floats(), array.shape));
  std::vector<double> numbers = array.to_doubles();
  for (size_t row = 0; row < numbers.size(); ++row) try {
      if (!std::isnan(numbers[row])) attribute.check(numbers[row]);
    } catch (const Error& e) {
      fail("{}, row {}: {}", where, row, e.what());
    }
  return Values(std::move(numbers));
}

}  // namespace

int64_t Values::rows() const {
  return is_image() ? images.dim(0) : std::ssize(numbers) / width;
}

Values Values::select(std::span<const int64_t> rows) const {
  for (const int64_t row : rows)
    require(row >= 0 && row < this->rows(), "row {} of {}", row, this->rows());
  Values selected(*this);
  if (is_image()) {
    Shape shape = images.shape();
    shape[0] = std::ssize(rows);
    selected.images = Tensor(shape);
    const Tensor source = images.to(Target::cpu);
    for (size_t i = 0; i < rows.size(); ++i)
      copy_row(source, rows[i], selected.images, static_cast<int64_t>(i));
    return selected;
  }
  selected.numbers.clear();
  for (const int64_t row : rows)
    selected.numbers.insert(selected.numbers.end(), numbers.begin() + row * width,
                            numbers.begin() + (row + 1) * width);
  return selected;
}

void Values::assign(std::span<const int64_t> rows, const Values& from) {
  require(from.rows() == std::ssize(rows) && from.is_image() == is_image() && from.width == width,
          "rows of one kind cannot be put into another");
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    require(rows[i] >= 0 && rows[i] < this->rows(), "row {} of {}", rows[i], this->rows());
    if (is_image())
      copy_row(from.images, row, images, rows[i]);
    else
      std::copy_n(from.numbers.begin() + row * width, width, numbers.begin() + rows[i] * width);
  }
}

bool Values::row_equals(int64_t row, const Values& other) const {
  if (is_image() != other.is_image()) return false;
  if (!is_image())
    return width == other.width && std::memcmp(&numbers[static_cast<size_t>(row * width)],
                                               &other.numbers[static_cast<size_t>(row * width)],
                                               static_cast<size_t>(width) * sizeof(double)) == 0;
  const int64_t size = row_size(images);
  return size == row_size(other.images) &&
         std::memcmp(images.data() + row * size, other.images.data() + row * size,
                     static_cast<size_t>(size) * sizeof(float)) == 0;
}

void Table::add(Attribute attribute, Values values) {
  require(find(attribute.name) == nullptr, "the table has two columns {}",
          io::show(attribute.name));
  if (!columns_.empty())
    require(values.rows() == rows(), "column {} has {} rows, column {} has {}",
            io::show(attribute.name), values.rows(), io::show(columns_.front().attribute.name),
            rows());
  columns_.push_back({std::move(attribute), std::move(values)});
}

const Column* Table::find(std::string_view name) const {
  const auto found =
      std::ranges::find_if(columns_, [&](const Column& c) { return c.attribute.name == name; });
  return found == columns_.end() ? nullptr : &*found;
}

Table Table::select(std::span<const int64_t> rows) const {
  Table selected;
  for (const Column& column : columns_) selected.add(column.attribute, column.values.select(rows));
  return selected;
}

std::vector<int64_t> Table::complete_rows() const {
  std::vector<int64_t> complete;
  for (int64_t row = 0; row < rows(); ++row) {
    const bool missing = std::ranges::any_of(columns_, [&](const Column& column) {
      const Values& v = column.values;
      const auto begin = v.numbers.begin() + (v.is_image() ? 0 : row * v.width);
      return std::any_of(begin, begin + (v.is_image() ? 0 : v.width),
                         [](double x) { return std::isnan(x); });
    });
    if (!missing) complete.push_back(row);
  }
  return complete;
}

Table read_table(const std::filesystem::path& path, std::span<const Attribute> wanted) {
  if (io::ending_of(path.native()) == ".csv")
    return to_table(read_csv(path), wanted, io::show(path));
  require(io::ending_of(path.native()) == ".npz", "{} is not a table: give a .csv or an .npz",
          io::show(path));
  Table table;
  for (const Attribute& attribute : wanted) {
    const std::string where = fmt::format("{}, array {}", io::show(path), io::show(attribute.name));
    const auto array = io::read_npz(
        path, attribute.name, [&](const io::NpyKind& kind) { check(kind, attribute, where); });
    require(array.has_value(), "{} has no column {}: {}", io::show(path), io::show(attribute.name),
            choices(attribute.name, io::npz_names(path)));
    table.add(attribute, values_of(*array, attribute, where));
  }
  return table;
}

void write_table(const std::filesystem::path& path, const Table& table) {
  if (io::ending_of(path.native()) == ".csv") return io::atomic_write(path, to_csv(table));
  require(io::ending_of(path.native()) == ".npz", "{} is not a table: give a .csv or an .npz",
          io::show(path));
  io::NpyArrays arrays;
  for (const auto& [attribute, values] : table.columns()) {
    const Shape shape =
        values.width == 1 ? Shape{values.rows()} : Shape{values.rows(), values.width};
    arrays.emplace(attribute.name, values.is_image() ? io::NpyArray::from(values.images)
                                                     : io::NpyArray::from(values.numbers, shape));
  }
  io::write_npz(path, arrays);
}

}  // namespace diffscm::data
