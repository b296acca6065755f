#include "data/mnist.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "engine/io/download.h"
#include "engine/io/file.h"
#include "engine/io/idx.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;

struct Source {
  const char* file;
  const char* sha256;  // of the .gz
};
constexpr Source kTrain[] = {
    {"train-images-idx3-ubyte", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
    {"train-labels-idx1-ubyte",
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"}};
constexpr Source kTest[] = {
    {"t10k-images-idx3-ubyte", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
    {"t10k-labels-idx1-ubyte", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"}};
constexpr const char* kMirrors[] = {"https://ossci-datasets.s3.amazonaws.com/mnist/",
                                    "https://storage.googleapis.com/cvdf-datasets/mnist/"};
constexpr uint64_t kDownloadLimit = 20'000'000;
constexpr int64_t kMnistClasses = 10;
// Folders above the current one and the program that are searched for shared/data/mnist.
constexpr int kParents = 6;

std::span<const Source> sources(Split split) {
  return split == Split::train ? std::span<const Source>(kTrain) : std::span<const Source>(kTest);
}

std::optional<fs::path> find_file(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (const fs::path& path : {folder / name, folder / (name + ".gz")})
    if (fs::is_regular_file(path, ignored)) return path;
  return {};
}

bool holds_split(const fs::path& folder, Split split) {
  return std::ranges::all_of(sources(split), [&](const Source& source) {
    return find_file(folder, source.file).has_value();
  });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void add_shared(std::vector<fs::path>& folders, fs::path folder) {
  for (int i = 0; i < kParents && !folder.empty(); ++i) {
    folders.push_back(folder / "shared/data/mnist");
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
}

fs::path cache_folder() {
  const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (!cache.empty()) return fs::path(cache) / "diffscm/mnist";
  return (home.empty() ? fs::temp_directory_path() : fs::path(home) / ".cache") / "diffscm/mnist";
}

std::vector<fs::path> search_folders() {
  std::vector<fs::path> folders;
  std::error_code ignored;
  if (const std::string data = variable("DIFFSCM_DATA"); !data.empty()) {
    folders.push_back(data);
    folders.push_back(fs::path(data) / "mnist");
  }
  add_shared(folders, fs::current_path(ignored));
  add_shared(folders, fs::read_symlink("/proc/self/exe", ignored).parent_path());
  folders.push_back(cache_folder());
  return folders;
}

// A download that every mirror refuses ends in the last mirror's message.
void fetch(const Source& source, const fs::path& folder) {
  const std::string name = std::string(source.file) + ".gz";
  for (const char* mirror : kMirrors) {
    try {
      return io::download({mirror + name, source.sha256, kDownloadLimit}, folder / name);
    } catch (const Error&) {
      if (mirror == std::end(kMirrors)[-1]) throw;
    }
  }
}

fs::path find_or_download(Split split) {
  for (const fs::path& folder : search_folders())
    if (holds_split(folder, split)) return folder;
  const fs::path cache = cache_folder();
  std::string why = "downloading is switched off by DIFFSCM_OFFLINE";
  const std::string offline = variable("DIFFSCM_OFFLINE");
  if (offline.empty() || offline == "0") {
    try {
      for (const Source& source : sources(split))
        if (!find_file(cache, source.file)) fetch(source, cache);
      return cache;
    } catch (const Error& error) {
      why = error.what();
    }
  }
  fail(
      "MNIST is not on this machine and cannot be fetched ({}): set DIFFSCM_DATA to the folder of "
      "its four IDX files, put them in {}, give the folder as --data FOLDER, or use the built-in "
      "--data digits",
      why, io::show(cache));
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

}  // namespace

bool is_idx_folder(const fs::path& folder) {
  for (const Split split : {Split::train, Split::test})
    for (const Source& source : sources(split))
      if (find_file(folder, source.file)) return true;
  return false;
}

namespace {

Dataset load(const fs::path& folder, Split split, const std::string& attribute, int64_t classes) {
  const auto files = sources(split);
  const auto images_path = find_file(folder, files[0].file);
  const auto labels_path = find_file(folder, files[1].file);
  require(images_path && labels_path, "{} has no {} [.gz], needed for the {} split",
          io::show(folder), images_path ? files[1].file : files[0].file, name_of(split));
  const io::IdxArray images = io::read_idx(*images_path);
  require(images.shape.size() == 3 && images.shape[0] >= 1 && images.shape[1] >= 1 &&
              images.shape[2] >= 1,
          "{} has shape {}, expected [images, rows, columns]", io::show(*images_path),
          to_string(images.shape));
  Dataset set;
  set.name = folder.filename().string();
  set.height = images.shape[1];
  set.width = images.shape[2];
  set.channels = 1;
  const std::vector<int64_t> labels = read_labels(*labels_path);
  require(std::ssize(labels) == images.shape[0], "{} holds {} labels for the {} images of {}",
          io::show(*labels_path), labels.size(), images.shape[0], io::show(*images_path));
  set.pixels.resize(images.values.size());
  std::ranges::transform(images.values, set.pixels.begin(),
                         [](uint8_t v) { return static_cast<float>(v) / 127.5f - 1.0f; });
  // Both splits must agree on the number of classes although one may lack the last of them.
  classes = std::max(classes, largest(labels) + 1);
  const Split other = split == Split::train ? Split::test : Split::train;
  if (const auto path = find_file(folder, sources(other)[1].file))
    classes = std::max(classes, largest(read_labels(*path)) + 1);
  set.add(numbered_category(attribute, classes), {labels.begin(), labels.end()});
  return set;
}

}  // namespace

Dataset load_idx_folder(const fs::path& folder, Split split) {
  return load(folder, split, "class", 0);
}

std::vector<std::vector<int64_t>> plausible_digits() {
  return {{3, 6, 8}, {4, 7, 9}, {3, 7},    {0, 2, 8}, {1, 9},
          {6, 8},    {0, 5, 8}, {1, 2, 9}, {0, 3, 6}, {1, 4, 7}};
}

Dataset load_mnist(Split split) {
  Dataset set = load(find_or_download(split), split, "digit", kMnistClasses);
  set.name = "mnist";
  set.plausible = plausible_digits();
  return set;
}

}  // namespace diffscm::data
