#include "data/idx_folder.h"

#include <algorithm>
#include <map>

#include "engine/io/file.h"
#include "engine/io/idx.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;

bool remove_suffix(std::string& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

// Where a file of that name belongs, if it is one of a data set.
std::optional<fs::path>* place(std::map<std::string, IdxFiles>& sets, std::string name) {
  remove_suffix(name, ".gz");
  const bool images =
      remove_suffix(name, "-images-idx3-ubyte") || remove_suffix(name, "-images.idx3-ubyte");
  if (!images && !remove_suffix(name, "-labels-idx1-ubyte") &&
      !remove_suffix(name, "-labels.idx1-ubyte"))
    return nullptr;
  for (const auto& [word, split] :
       {std::pair("train", Split::train), std::pair("t10k", Split::test),
        std::pair("test", Split::test)}) {
    if (!remove_suffix(name, word)) continue;
    if (!name.empty() && !remove_suffix(name, "-")) return nullptr;
    IdxFiles& files = sets[name];
    files.prefix = name;
    return &(images ? files.images : files.labels)[static_cast<int>(split)];
  }
  return nullptr;
}

std::vector<int64_t> read_labels(const fs::path& path) {
  const io::IdxArray labels = io::read_idx(path);
  require(labels.shape.size() == 1, "{} has shape {}, expected one label per image", io::show(path),
          to_string(labels.shape));
  return {labels.values.begin(), labels.values.end()};
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
  for (auto& [prefix, files] : sets) all.push_back(std::move(files));
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
  if (files.prefix.starts_with("emnist"))
    set.notes.push_back(
        "EMNIST files hold their images with rows and columns exchanged; they are "
        "read as they are stored");
  return set;
}

}  // namespace diffscm::data
