#include "data/label_table.h"

#include <algorithm>
#include <map>

#include "data/table.h"
#include "engine/io/file.h"
#include "engine/io/picture_file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr uint64_t kLabelFileLimit = uint64_t{1} << 28;

// Lines of a table by the file that they name.
template <class T>
class ByFile {
 public:
  bool emplace(std::string_view file, T value) {
    return lines_.emplace(std::string(file), Line{std::move(value)}).second;
  }
  const T& of(const PictureStore& pictures, int64_t i, const fs::path& table) {
    const std::string_view name = pictures.name(i);
    auto found = lines_.find(name);
    if (found == lines_.end()) found = lines_.find(name.substr(0, name.rfind('.')));
    if (found == lines_.end()) fail("{} is not listed in {}", pictures.where(i), show(table));
    found->second.is_there = true;
    return found->second.value;
  }
  const T& first() const { return lines_.begin()->second.value; }

  // Of the files that no picture was called.
  void note_absent(Listing& listing, const fs::path& table) const {
    size_t absent = 0;
    std::string names;
    for (const auto& [name, line] : lines_)
      if (!line.is_there && ++absent <= 3) names += (absent == 1 ? "" : ", ") + show(name);
    if (absent > 0)
      listing.notes.push_back(fmt::format("{} lists {} file{} not there: {}{}", show(table), absent,
                                          absent == 1 ? " that is" : "s that are", names,
                                          absent > 3 ? ", ..." : ""));
  }

 private:
  struct Line {
    T value;
    bool is_there = false;
  };
  std::map<std::string, Line, std::less<>> lines_;
};

// Whether a table begins with the names of several attributes: "file,digit,thickness".
bool names_several(std::string_view text) {
  const std::string_view header = text.substr(0, text.find('\n'));
  return std::ranges::count(header, ',') >= 2 &&
         !io::names_picture(header.substr(0, header.rfind(',')));
}

void read_columns(const fs::path& table, std::string_view text, Listing& listing) {
  const Csv csv = parse_csv(text, show(table));
  ByFile<int64_t> rows;
  for (int64_t row = 0; row < csv.rows(); ++row)
    require(rows.emplace(csv.cell(row, 0), row), "{}, line {}: {} has a line already", show(table),
            csv.lines[static_cast<size_t>(row)], show(csv.cell(row, 0)));
  listing.table = table;
  for (size_t c = 1; c < csv.names.size(); ++c) {
    TextColumn column(csv.names[c]);
    for (int64_t i = 0; i < listing.pictures->size(); ++i) {
      const int64_t row = rows.of(*listing.pictures, i, table);
      const std::string_view cell = csv.cell(row, c);
      require(!cell.empty(), "{}, line {}: {} is empty: give each image a value", show(table),
              csv.lines[static_cast<size_t>(row)], show(csv.names[c]));
      column.add(cell);
    }
    listing.columns.push_back(std::move(column));
  }
  rows.note_absent(listing, table);
}

}  // namespace

void read_label_table(const fs::path& table, Listing& listing) {
  const io::Bytes bytes = io::read_file(table, kLabelFileLimit);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (names_several(rest)) return read_columns(table, rest, listing);
  ByFile<std::string> classes;
  std::string attribute = "class";
  for (int line = 1; !rest.empty(); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    const size_t comma = text.rfind(',');
    require(comma != std::string_view::npos && comma + 1 < text.size(),
            "{}, line {}: {} is not \"file,class\"", show(table), line, show(text));
    const std::string_view file = text.substr(0, comma);
    const std::string name(text.substr(comma + 1));
    if (line == 1 && !io::names_picture(file)) {
      if (name != "label") attribute = name;
      listing.table = table;
      continue;
    }
    const bool number = class_number(name).has_value(), named = !listing.table.empty();
    require(number || named || name.find_first_not_of("+-.0123456789") != std::string::npos,
            "{}, line {}: class {} is neither a name nor a number from 0 to {}", show(table), line,
            show(name), kMaxStates - 1);
    require(classes.emplace(file, name), "{}, line {}: {} has two labels", show(table), line,
            show(file));
    require(named || number == class_number(classes.first()).has_value(),
            "{}, line {}: classes {} and {}: give all of them numbers or all of them names",
            show(table), line, show(classes.first()), show(name));
  }
  TextColumn column(attribute, /*labels=*/listing.table.empty());
  for (int64_t i = 0; i < listing.pictures->size(); ++i)
    column.add(classes.of(*listing.pictures, i, table));
  listing.columns.push_back(std::move(column));
  classes.note_absent(listing, table);
}

}  // namespace diffscm::data
