// Comma-separated values, RFC 4180, and tables of them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "data/table.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Reads cell by cell. Quoted cells are unescaped in place: they only become shorter.
class Reader {
 public:
  Reader(std::vector<char>& text, std::string_view where) : text_(text), where_(where) {
    if (std::string_view(text.data(), text.size()).starts_with("\xef\xbb\xbf")) at_ = 3;
  }

  bool at_end() const { return at_ == text_.size(); }
  int64_t line() const { return line_; }

  // The cells of the next line that is not empty; none at the end of the file.
  std::vector<std::string_view> row(int64_t& begin) {
    std::vector<std::string_view> cells;
    while (!at_end() && skip_newline()) {
    }
    begin = line_;
    if (at_end()) return cells;
    do cells.push_back(cell());
    while (!at_end() && take(','));
    if (!at_end())
      require(skip_newline(), "{}: line {} has text beside a quoted cell", where_, line_);
    return cells;
  }

 private:
  bool take(char c) {
    if (text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool skip_newline() {
    const bool carriage = text_[at_] == '\r';
    const size_t feed = at_ + (carriage ? 1 : 0);
    if (feed < text_.size() && text_[feed] == '\n')
      at_ = feed + 1;
    else if (carriage)
      at_ = feed;
    else
      return false;
    ++line_;
    return true;
  }

  bool cell_ends() const {
    return at_end() || text_[at_] == ',' || text_[at_] == '\n' || text_[at_] == '\r';
  }

  std::string_view cell() {
    while (!at_end() && is_blank(text_[at_])) ++at_;
    if (!at_end() && text_[at_] == '"') return quoted();
    const size_t begin = at_;
    while (!cell_ends()) ++at_;
    size_t end = at_;
    while (end > begin && is_blank(text_[end - 1])) --end;
    return {text_.data() + begin, end - begin};
  }

  std::string_view quoted() {
    const int64_t opened = line_;
    const size_t begin = ++at_;
    size_t end = begin;
    for (;; ++at_) {
      require(!at_end(), "{}: the quote opened in line {} does not close", where_, opened);
      if (text_[at_] == '"') {
        if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
        ++at_;
      } else if (text_[at_] == '\n') {
        ++line_;
      }
      text_[end++] = text_[at_];
    }
    ++at_;
    while (!at_end() && is_blank(text_[at_])) ++at_;
    return {text_.data() + begin, end - begin};
  }

  std::vector<char>& text_;
  std::string_view where_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// As to_csv writes a cell.
std::string escaped(std::string_view cell) {
  const bool plain = cell.find_first_of(",\"\r\n") == std::string_view::npos &&
                     (cell.empty() || (!is_blank(cell.front()) && !is_blank(cell.back())));
  if (plain) return std::string(cell);
  std::string out = "\"";
  for (const char c : cell) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace

Csv parse_csv(std::string_view text, std::string_view where) {
  Csv csv;
  csv.text.assign(text.begin(), text.end());
  Reader reader(csv.text, where);
  int64_t line = 0;
  std::set<std::string, std::less<>> known;
  for (const std::string_view name : reader.row(line)) {
    require(known.emplace(name).second, "{}: line {} names the column {} twice", where, line,
            io::show(name));
    csv.names.emplace_back(name);
  }
  require(!csv.names.empty(), "{} is empty: its first line must name the columns", where);
  for (auto cells = reader.row(line); !cells.empty(); cells = reader.row(line)) {
    require(cells.size() == csv.names.size(), "{}: line {} has {} cells, the first line {}", where,
            line, cells.size(), csv.names.size());
    csv.cells.insert(csv.cells.end(), cells.begin(), cells.end());
    csv.lines.push_back(line);
  }
  return csv;
}

Csv read_csv(const std::filesystem::path& path) {
  const io::Bytes bytes = io::read_file(path);
  return parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, io::show(path));
}

bool is_missing(std::string_view cell, const Attribute& attribute) {
  if (std::ranges::find(attribute.states, cell) != attribute.states.end()) return false;
  return cell.empty() || equal_without_case(cell, "na") || equal_without_case(cell, "nan");
}

Table to_table(const Csv& csv, std::span<const Attribute> wanted, std::string_view where) {
  Table table;
  for (const Attribute& attribute : wanted) {
    const auto found = std::ranges::find(csv.names, attribute.name);
    require(found != csv.names.end(), "{} has no column {}: {}", where, io::show(attribute.name),
            choices(attribute.name, csv.names));
    const auto column = static_cast<size_t>(found - csv.names.begin());
    std::vector<double> numbers(static_cast<size_t>(csv.rows()), kMissing);
    for (int64_t row = 0; row < csv.rows(); ++row) {
      const std::string_view cell = csv.cell(row, column);
      if (is_missing(cell, attribute)) continue;
      try {
        numbers[static_cast<size_t>(row)] = attribute.parse(cell);
      } catch (const Error& e) {
        fail("{}: line {}: {}", where, csv.lines[static_cast<size_t>(row)], e.what());
      }
    }
    table.add(attribute, Values(std::move(numbers)));
  }
  return table;
}

std::string to_csv(const Table& table) {
  std::string text;
  for (const Column& column : table.columns()) {
    require(!column.values.is_image() && column.values.width == 1,
            "CSV cannot hold column {}: write an .npz", io::show(column.attribute.name));
    if (!text.empty()) text += ',';
    text += escaped(column.attribute.name);
  }
  text += '\n';
  for (size_t row = 0; row < static_cast<size_t>(table.rows()); ++row) {
    for (size_t c = 0; c < table.columns().size(); ++c) {
      const Column& column = table.columns()[c];
      const double value = column.values.numbers[row];
      if (c > 0) text += ',';
      if (!std::isnan(value)) text += escaped(column.attribute.show(value));
    }
    text += '\n';
  }
  return text;
}

}  // namespace diffscm::data
