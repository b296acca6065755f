#include "data/idx_folder.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/table.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/idx.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;

bool remove_suffix(std::string& text, std::string_view suffix) {
  if (!io::lower_case(text).ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

// Where a file of that name belongs, if it is one of a data set.
std::optional<fs::path>* place(std::map<std::string, IdxFiles>& sets, std::string name) {
  std::optional<fs::path>(IdxFiles::*kind)[2] = nullptr;
  if (remove_suffix(name, "-morpho.csv")) kind = &IdxFiles::table;
  remove_suffix(name, ".gz");
  if (remove_suffix(name, "-images-idx3-ubyte") || remove_suffix(name, "-images.idx3-ubyte"))
    kind = &IdxFiles::images;
  if (remove_suffix(name, "-labels-idx1-ubyte") || remove_suffix(name, "-labels.idx1-ubyte"))
    kind = &IdxFiles::labels;
  if (kind == nullptr) return nullptr;
  for (const auto& [word, split] :
       {std::pair("train", Split::train), std::pair("t10k", Split::test),
        std::pair("test", Split::test)}) {
    if (!remove_suffix(name, word)) continue;
    if (!name.empty() && !remove_suffix(name, "-")) return nullptr;
    IdxFiles& files = sets[name];
    files.prefix = name;
    return &(files.*kind)[static_cast<int>(split)];
  }
  return nullptr;
}

std::vector<int64_t> read_labels(const fs::path& path) {
  const io::IdxArray labels = io::read_idx(path);
  require(labels.shape.size() == 1, "{} has shape {}, expected one label per image", io::show(path),
          to_string(labels.shape));
  return {labels.values.begin(), labels.values.end()};
}

void add_table(Dataset& set, const fs::path& path) {
  const Csv csv = read_csv(path);
  const std::string where = io::show(path);
  require(csv.rows() == set.size(), "{} holds {} rows for {} images", where, csv.rows(),
          set.size());
  std::vector<Attribute> wanted;
  for (const std::string& name : csv.names) wanted.push_back({.name = name});
  const Table table = to_table(csv, wanted, where);
  for (const Column& column : table.columns()) {
    const std::vector<double>& numbers = column.values.numbers;
    const auto missing = std::ranges::find_if(numbers, [](double v) { return std::isnan(v); });
    require(missing == numbers.end(), "{}: line {} has no {}", where,
            csv.lines[static_cast<size_t>(missing - numbers.begin())],
            io::show(column.attribute.name));
    if (column.attribute.name == set.label_attribute().name) continue;
    if (column.attribute.name != "index") {
      set.add(column.attribute, numbers);
      continue;
    }
    for (size_t i = 0; i < numbers.size(); ++i)
      require(numbers[i] == static_cast<double>(i), "{}: line {} is about image {}, expected {}",
              where, csv.lines[i], numbers[i], i);
  }
}

int64_t largest(const std::vector<int64_t>& labels) {
  return labels.empty() ? -1 : *std::ranges::max_element(labels);
}

std::string expected_name(const IdxFiles& files, Split split, const char* what) {
  return fmt::format("{}{}{}-{}-ubyte", files.prefix, files.prefix.empty() ? "" : "-",
                     split == Split::train  ? "train"
                     : files.prefix.empty() ? "t10k"
                                            : "test",
                     what);
}

}  // namespace

bool IdxFiles::holds(Split split) const {
  return images[static_cast<int>(split)] && labels[static_cast<int>(split)];
}

std::vector<IdxFiles> find_idx_files(const fs::path& folder) {
  std::map<std::string, IdxFiles> sets;
  for (const fs::path& path : io::list_folder(folder)) {
    std::optional<fs::path>* found = place(sets, path.filename().string());
    std::error_code ignored;
    // In order of name, a plain file stands before its .gz.
    if (found && !*found && fs::is_regular_file(path, ignored)) *found = path;
  }
  std::vector<IdxFiles> all;
  const auto any = [](const auto& paths) { return paths[0] || paths[1]; };
  for (auto& [prefix, files] : sets)
    if (any(files.images) || any(files.labels)) all.push_back(std::move(files));
  return all;
}

Dataset load_idx(const IdxFiles& files, const fs::path& folder, Split split,
                 const std::string& attribute, int64_t classes) {
  Dataset set;
  constexpr int kTest = static_cast<int>(Split::test);
  set.has_test = files.images[kTest] || files.labels[kTest];
  const Split from = set.has_test ? split : Split::train;
  const auto& images_path = files.images[static_cast<int>(from)];
  const auto& labels_path = files.labels[static_cast<int>(from)];
  for (const Split s : {Split::train, Split::test}) {
    const bool has_images = files.images[static_cast<int>(s)].has_value();
    const bool has_labels = files.labels[static_cast<int>(s)].has_value();
    // Of the other split too: half a test set is known before training, not after it.
    if (s != from && !has_images && !has_labels) continue;
    require(has_images && has_labels, "{} has no {} [.gz], needed for the {} split",
            io::show(folder), expected_name(files, s, has_images ? "labels-idx1" : "images-idx3"),
            name_of(s));
    require(files.table[static_cast<int>(s)] || !files.table[static_cast<int>(from)],
            "{} has no morpho.csv for the {} split, only for the {} split", io::show(folder),
            name_of(s), name_of(from));
  }
  const io::IdxArray images = io::read_idx(*images_path);
  require(images.shape.size() == 3 && images.shape[0] >= 1 && images.shape[1] >= 1 &&
              images.shape[2] >= 1,
          "{} has shape {}, expected [images, rows, columns]", io::show(*images_path),
          to_string(images.shape));
  set.height = images.shape[1];
  set.width = images.shape[2];
  set.channels = 1;
  const std::vector<int64_t> labels = read_labels(*labels_path);
  require(std::ssize(labels) == images.shape[0], "{} holds {} labels for the {} images of {}",
          io::show(*labels_path), labels.size(), images.shape[0], io::show(*images_path));
  set.pixels.resize(images.values.size());
  std::ranges::transform(images.values, set.pixels.begin(), pixel_of_byte);
  // Both splits must agree on the number of classes although one may lack the last of them.
  classes = std::max(classes, largest(labels) + 1);
  const Split other = from == Split::train ? Split::test : Split::train;
  if (const auto& path = files.labels[static_cast<int>(other)])
    classes = std::max(classes, largest(read_labels(*path)) + 1);
  set.add(numbered_category(attribute, classes), {labels.begin(), labels.end()});
  if (const auto& path = files.table[static_cast<int>(from)]) add_table(set, *path);
  if (files.prefix.starts_with("emnist"))
    set.notes.push_back(
        "EMNIST files hold their images with rows and columns exchanged; they are "
        "read as they are stored");
  return set;
}

}  // namespace diffscm::data
