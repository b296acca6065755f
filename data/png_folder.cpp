#include "data/png_folder.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "data/attribute_column.h"
#include "data/table.h"
#include "engine/io/file.h"
#include "engine/io/picture_file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr uint64_t kLabelFileLimit = uint64_t{1} << 28;
constexpr const char* kLabelFile = "labels.csv";

struct TextColumn {
  std::string name;
  std::vector<std::string> cells;
};

// The pictures of one split as they lie in the folder.
struct Listing {
  std::vector<fs::path> files;
  std::vector<TextColumn> columns;  // what is known of them, one cell for each file
  fs::path table;                   // where the columns and their names stand; empty: nowhere
  std::vector<std::string> notes;   // on what is not read
};

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// macOS writes "._a.png" beside "a.png".
bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

bool is_png(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png" && !is_hidden(path) && !is_folder(path);
}

bool has_png(const fs::path& folder) {
  return std::ranges::any_of(io::list_folder(folder), is_png);
}

// The number that a class is called by: "0", "12", but not "012" or "-1".
std::optional<int64_t> as_number(const std::string& name) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  const bool plain = error == std::errc() && end == name.data() + name.size() &&
                     std::to_string(value) == name && value >= 0 && value < kMaxStates;
  return plain ? std::optional(value) : std::nullopt;
}

void note_absent(Listing& listing, const fs::path& table, size_t lines) {
  if (lines > listing.files.size())
    listing.notes.push_back(fmt::format("{} lists {} files that are not there", show(table),
                                        lines - listing.files.size()));
}

// Whether a table begins with the names of several attributes: "file,digit,thickness".
bool names_several(std::string_view text) {
  const std::string_view header = text.substr(0, text.find('\n'));
  return std::ranges::count(header, ',') >= 2 && !is_png(header.substr(0, header.rfind(',')));
}

void read_columns(const fs::path& table, std::string_view text, Listing& listing) {
  const Csv csv = parse_csv(text, show(table));
  std::map<std::string, int64_t, std::less<>> rows;
  for (int64_t row = 0; row < csv.rows(); ++row)
    require(rows.emplace(csv.cell(row, 0), row).second, "{}, line {}: {} has a line already",
            show(table), csv.lines[static_cast<size_t>(row)], show(std::string(csv.cell(row, 0))));
  listing.table = table;
  for (size_t c = 1; c < csv.names.size(); ++c) {
    std::vector<std::string> cells;
    for (const fs::path& file : listing.files) {
      const auto found = rows.find(file.filename().string());
      require(found != rows.end(), "{} is not listed in {}", show(file), show(table));
      cells.emplace_back(csv.cell(found->second, c));
      require(!cells.back().empty(), "{}, line {}: {} is empty: give each image a value",
              show(table), csv.lines[static_cast<size_t>(found->second)], show(csv.names[c]));
    }
    listing.columns.push_back({csv.names[c], std::move(cells)});
  }
  note_absent(listing, table, rows.size());
}

// What is known of the listed files, from lines "file,class". A header names the attribute.
void read_table(const fs::path& table, Listing& listing) {
  const io::Bytes bytes = io::read_file(table, kLabelFileLimit);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (names_several(rest)) return read_columns(table, rest, listing);
  std::map<std::string, std::string> classes;
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
    const std::string file(text.substr(0, comma)), name(text.substr(comma + 1));
    if (line == 1 && !is_png(file)) {
      if (name != "label") attribute = name;
      listing.table = table;
      continue;
    }
    const bool number = as_number(name).has_value(), named = !listing.table.empty();
    require(number || named || name.find_first_not_of("+-.0123456789") != std::string::npos,
            "{}, line {}: class {} is neither a name nor a number from 0 to {}", show(table), line,
            show(name), kMaxStates - 1);
    require(classes.emplace(file, name).second, "{}, line {}: {} has two labels", show(table), line,
            show(file));
    const std::string& known = classes.begin()->second;
    require(named || number == as_number(known).has_value(),
            "{}, line {}: classes {} and {}: give all of them numbers or all of them names",
            show(table), line, show(known), show(name));
  }
  std::vector<std::string> cells;
  for (const fs::path& file : listing.files) {
    const auto found = classes.find(file.filename().string());
    require(found != classes.end(), "{} is not listed in {}", show(file), show(table));
    cells.push_back(found->second);
  }
  listing.columns.push_back({attribute, std::move(cells)});
  note_absent(listing, table, classes.size());
}

// "skipped 4 files, not PNG pictures: "0/a.txt", "0/b.txt", "0/c.txt", ..."
void note_skipped(Listing& listing, const std::vector<fs::path>& paths, const char* what,
                  const char* why) {
  if (paths.empty()) return;
  std::string names;
  for (size_t i = 0; i < paths.size() && i < 3; ++i)
    names += (i == 0 ? "" : ", ") + show(paths[i].parent_path().filename() / paths[i].filename());
  listing.notes.push_back(fmt::format("skipped {} {}{}{}: {}{}", paths.size(), what,
                                      paths.size() == 1 ? "" : "s", why, names,
                                      paths.size() > 3 ? ", ..." : ""));
}

Listing list_pictures(const fs::path& folder) {
  Listing listing;
  std::vector<fs::path> side_by_side, folders, other_files, other_folders;
  for (const fs::path& entry : io::list_folder(folder)) {
    if (is_folder(entry))
      (is_hidden(entry) || !has_png(entry) ? other_folders : folders).push_back(entry);
    else
      (is_png(entry) ? side_by_side : other_files).push_back(entry);
  }
  require(side_by_side.empty() || folders.empty(),
          "{} lies beside folders named by class: move it into one",
          side_by_side.empty() ? "" : show(side_by_side[0]));
  std::vector<std::string> classes;
  for (const fs::path& entry : folders)
    for (const fs::path& file : io::list_folder(entry)) {
      if (!is_png(file)) {
        other_files.push_back(file);
        continue;
      }
      listing.files.push_back(file);
      classes.push_back(entry.filename().string());
    }
  if (!classes.empty()) listing.columns.push_back({"class", std::move(classes)});
  const fs::path table = folder / kLabelFile;
  if (!side_by_side.empty()) {
    listing.files = std::move(side_by_side);
    if (std::erase(other_files, table) > 0) read_table(table, listing);
  }
  note_skipped(listing, other_files, "file", ", not PNG pictures");
  note_skipped(listing, other_folders, "folder", ", hidden or without PNG pictures");
  return listing;
}

// The attribute whose states are these names.
Attribute category(const std::string& name, const std::set<std::string>& names) {
  require(io::is_utf8(name), "attribute {} is not named in UTF-8: rename it", show(name));
  for (const std::string& state : names)
    require(io::is_utf8(state), "class {} is not named in UTF-8: rename it", show(state));
  int64_t most = -1;
  for (const std::string& state : names) {
    const auto number = as_number(state);
    if (!number) return {.name = name, .states = {names.begin(), names.end()}};
    most = std::max(most, *number);
  }
  return numbered_category(name, most + 1);
}

// What the column is whose cells, over both splits, are these. Alone, whole numbers are labels.
Attribute attribute_of(const std::string& name, const std::set<std::string>& cells, bool alone,
                       const fs::path& table) {
  const bool labels =
      std::ranges::all_of(cells, [](const auto& cell) { return as_number(cell).has_value(); });
  if (table.empty() || (alone && (labels || std::ranges::none_of(cells, is_number))))
    return category(name, cells);
  return attribute_of_cells(name, cells, show(table));
}

// What is known of the images of `own`, by the names and in the order of the training images.
void add_columns(Dataset& set, const Listing& own, const Listing& other, const Listing& train) {
  const bool alone = own.columns.size() == 1, both = !other.columns.empty();
  for (const TextColumn& column : train.columns) {
    const auto cells_of = [&](const Listing& listing) -> const std::vector<std::string>& {
      const auto found = alone ? listing.columns.begin()
                               : std::ranges::find(listing.columns, column.name, &TextColumn::name);
      require(listing.columns.size() == train.columns.size() && found != listing.columns.end(),
              "the tables of {} name different attributes for training and testing, among them {}",
              show(listing.table), show(column.name));
      return found->cells;
    };
    const std::vector<std::string>& mine = cells_of(own);
    std::set<std::string> all(mine.begin(), mine.end());
    if (both) all.insert(cells_of(other).begin(), cells_of(other).end());
    const Attribute attribute = attribute_of(column.name, all, alone, train.table);
    std::map<std::string_view, double> states;
    for (const std::string& state : attribute.states)
      states.emplace(state, static_cast<double>(states.size()));
    std::vector<double> values;
    for (const std::string& cell : mine)
      values.push_back(attribute.is_category() ? states.at(cell) : attribute.parse(cell));
    set.add(attribute, std::move(values));
  }
}

void append(Dataset& set, const fs::path& path) {
  const io::Picture picture = io::read_picture(path);
  if (set.pixels.empty()) {
    set.height = picture.height;
    set.width = picture.width;
    set.channels = picture.channels;
  }
  require(picture.height == set.height && picture.width == set.width &&
              picture.channels == set.channels,
          "{} is {} x {} x {}, the images before it are {} x {} x {}", show(path), picture.height,
          picture.width, picture.channels, set.height, set.width, set.channels);
  std::ranges::transform(picture.pixels, std::back_inserter(set.pixels), pixel_of_byte);
}

}  // namespace

Dataset load_png_folder(const fs::path& folder, Split split) {
  const fs::path train = folder / "train", test = folder / "test";
  Dataset set;
  set.has_test = is_folder(train) && is_folder(test);
  const bool splits = set.has_test || (is_folder(train) && !has_png(train));
  const bool tests = split == Split::test && set.has_test;
  const fs::path& source = !splits ? folder : tests ? test : train;
  Listing own = list_pictures(source), other;
  require(!own.files.empty(),
          "{} holds neither IDX files (train-images-idx3-ubyte, ...) nor PNG files, side by side "
          "or in one folder per class",
          show(source));
  if (splits) {
    std::vector<fs::path> besides = io::list_folder(folder);
    std::erase_if(besides, [&](const fs::path& path) { return path == train || path == test; });
    note_skipped(own, besides, "item", " beside train and test");
  }
  for (const fs::path& file : own.files) append(set, file);
  set.notes = std::move(own.notes);
  if (own.columns.empty()) return set;
  // Both splits must number their classes alike.
  if (set.has_test) other = list_pictures(tests ? train : test);
  add_columns(set, own, other, tests && !other.columns.empty() ? other : own);
  return set;
}

}  // namespace diffscm::data
