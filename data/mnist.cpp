#include "data/mnist.h"

#include <algorithm>
#include <array>
#include <optional>

#include "data/cache.h"
#include "data/idx_folder.h"
#include "engine/environment.h"
#include "engine/io/download.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

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

std::optional<IdxFiles> find_mnist(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) return {};
  for (const IdxFiles& files : find_idx_files(folder))
    if (files.prefix.empty()) return files;
  return {};
}

bool holds_split(const fs::path& folder, Split split) {
  const auto files = find_mnist(folder);
  return files && files->holds(split);
}

void add_shared(std::vector<fs::path>& folders, fs::path folder) {
  for (int i = 0; i < kParents && !folder.empty(); ++i) {
    folders.push_back(folder / "shared/data/mnist");
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
}

std::vector<fs::path> search_folders() {
  std::vector<fs::path> folders;
  std::error_code ignored;
  if (const std::string data = environment("DIFFSCM_DATA"); !data.empty()) {
    require(fs::is_directory(data, ignored),
            "the variable DIFFSCM_DATA names {}, which is no folder: correct or unset it",
            io::show(data));
    folders.push_back(data);
    folders.push_back(fs::path(data) / "mnist");
  } else {
    add_shared(folders, fs::current_path(ignored));
    add_shared(folders, fs::read_symlink("/proc/self/exe", ignored).parent_path());
  }
  folders.push_back(cache_folder("mnist"));
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
  const fs::path cache = cache_folder("mnist");
  std::string why = "downloading is switched off by DIFFSCM_OFFLINE";
  const std::string offline = environment("DIFFSCM_OFFLINE");
  if (offline.empty() || offline == "0") {
    try {
      for (const Source& source : sources(split))
        if (!fs::exists(cache / source.file) && !fs::exists(cache / (source.file + ".gz"s)))
          fetch(source, cache);
      return cache;
    } catch (const Error& error) {
      why = error.what();
    }
  }
  const std::string data = environment("DIFFSCM_DATA");
  fail(
      "MNIST is not on this machine{} and cannot be fetched ({}): set DIFFSCM_DATA to the folder "
      "of "
      "its four IDX files, put them in {}, give the folder as --data FOLDER, or use the built-in "
      "--data digits",
      data.empty() ? "" : fmt::format(", nor in DIFFSCM_DATA ({}),", io::show(data)), why,
      io::show(cache));
}

}  // namespace

std::vector<std::vector<int64_t>> plausible_digits() {
  return {{3, 6, 8}, {4, 7, 9}, {3, 7},    {0, 2, 8}, {1, 9},
          {6, 8},    {0, 5, 8}, {1, 2, 9}, {0, 3, 6}, {1, 4, 7}};
}

bool has_mnist() {
  const std::vector<fs::path> folders = search_folders();
  return std::ranges::all_of(std::array{Split::train, Split::test}, [&](Split split) {
    return std::ranges::any_of(folders,
                               [&](const fs::path& folder) { return holds_split(folder, split); });
  });
}

Dataset load_mnist(Split split) {
  const fs::path folders[] = {find_or_download(Split::train), find_or_download(Split::test)};
  IdxFiles files;
  for (int i = 0; i < 2; ++i) {
    const auto found = find_mnist(folders[i]);
    files.images[i] = found->images[i];
    files.labels[i] = found->labels[i];
  }
  Dataset set = load_idx(files, folders[static_cast<int>(split)], split, "digit", kMnistClasses);
  set.name = "mnist";
  set.plausible = plausible_digits();
  return set;
}

}  // namespace diffscm::data
