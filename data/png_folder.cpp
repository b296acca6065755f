#include "data/png_folder.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "engine/io/file.h"
#include "engine/io/png.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr uint64_t kLabelFileLimit = uint64_t{1} << 28;
constexpr const char* kLabelFile = "labels.csv";

// The pictures of one split as they lie in the folder.
struct Listing {
  std::vector<fs::path> files;
  std::vector<std::string> classes;  // of each file, or empty
  std::string attribute = "class";
  std::vector<std::string> notes;  // on what is not read
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

// The classes of the listed files, from lines "file,class". A header names the attribute.
void read_classes(const fs::path& table, Listing& listing) {
  const io::Bytes bytes = io::read_file(table, kLabelFileLimit);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::map<std::string, std::string> classes;
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
      if (name != "label") listing.attribute = name;
      continue;
    }
    const bool number = as_number(name).has_value();
    require(number || name.find_first_not_of("+-.0123456789") != std::string::npos,
            "{}, line {}: class {} is neither a name nor a number from 0 to {}", show(table), line,
            show(name), kMaxStates - 1);
    require(classes.emplace(file, name).second, "{}, line {}: {} has two labels", show(table), line,
            show(file));
    const std::string& known = classes.begin()->second;
    require(number == as_number(known).has_value(),
            "{}, line {}: classes {} and {}: give all of them numbers or all of them names",
            show(table), line, show(known), show(name));
  }
  for (const fs::path& file : listing.files) {
    const auto found = classes.find(file.filename().string());
    require(found != classes.end(), "{} is not listed in {}", show(file), show(table));
    listing.classes.push_back(found->second);
  }
  if (classes.size() > listing.files.size())
    listing.notes.push_back(fmt::format("{} lists {} files that are not there", show(table),
                                        classes.size() - listing.files.size()));
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
  for (const fs::path& entry : folders)
    for (const fs::path& file : io::list_folder(entry)) {
      if (!is_png(file)) {
        other_files.push_back(file);
        continue;
      }
      listing.files.push_back(file);
      listing.classes.push_back(entry.filename().string());
    }
  const fs::path table = folder / kLabelFile;
  if (!side_by_side.empty()) {
    listing.files = std::move(side_by_side);
    if (std::erase(other_files, table) > 0) read_classes(table, listing);
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

void append(Dataset& set, const fs::path& path) {
  const io::Picture picture = io::read_png(path);
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
  if (own.classes.empty()) return set;

  // Both splits must number their classes alike.
  if (set.has_test) other = list_pictures(tests ? train : test);
  std::set<std::string> names(own.classes.begin(), own.classes.end());
  names.insert(other.classes.begin(), other.classes.end());
  const Attribute attribute = category(tests ? other.attribute : own.attribute, names);
  std::map<std::string, double> index;
  for (const std::string& state : attribute.states)
    index.emplace(state, static_cast<double>(index.size()));
  std::vector<double> labels;
  for (const std::string& name : own.classes) labels.push_back(index.at(name));
  set.add(attribute, std::move(labels));
  return set;
}

}  // namespace diffscm::data
