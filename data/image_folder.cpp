#include "data/image_folder.h"

#include <algorithm>
#include <map>
#include <optional>

#include "data/class_names.h"
#include "data/label_table.h"
#include "data/listed_splits.h"
#include "data/listing.h"
#include "engine/io/file.h"
#include "engine/io/picture_file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr const char* kLabelFile = "labels.csv";

// What lies in a folder, by name and in its order. macOS writes "._a.png" beside "a.png".
struct Entries {
  std::vector<std::string> pictures, folders, others;

  explicit Entries(const fs::path& folder) {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      std::string name = it->path().filename().string();
      std::error_code ignored;
      const bool is_folder = it->is_directory(ignored);
      const bool hidden = name.starts_with('.');
      (is_folder                            ? folders
       : !hidden && io::names_picture(name) ? pictures
                                            : others)
          .push_back(std::move(name));
    }
    if (error) fail("cannot list {}: {}", show(folder), error.message());
    for (auto* names : {&pictures, &folders, &others}) std::ranges::sort(*names);
  }
};

void require_different_stems(const fs::path& folder, const std::vector<std::string>& pictures) {
  std::map<std::string_view, std::string_view> stems;
  for (const std::string_view name : pictures) {
    const auto [found, is_new] = stems.emplace(name.substr(0, name.rfind('.')), name);
    require(is_new, "{} holds both {} and {}: which one is meant? Remove or rename the other",
            show(folder), show(found->second), show(name));
  }
}

// `names`: the file that names the classes, if there is one.
Listing list_pictures(const fs::path& folder, const std::optional<fs::path>& names) {
  const Entries here(folder);
  Listing listing;
  auto files = std::make_unique<FolderFiles>(folder);
  std::vector<fs::path> other_files, other_folders;
  for (const std::string& name : here.others) other_files.push_back(folder / name);
  TextColumn classes("class", /*labels=*/true);
  for (const std::string& name : here.folders) {
    std::optional<Entries> inside;
    if (!name.starts_with('.')) inside.emplace(folder / name);
    if (!inside || inside->pictures.empty()) {
      other_folders.push_back(folder / name);
      continue;
    }
    require(here.pictures.empty(), "{} lies beside folders named by class: move it into one",
            here.pictures.empty() ? "" : show(folder / here.pictures[0]));
    require_different_stems(folder / name, inside->pictures);
    for (const std::string& picture : inside->pictures) {
      files->add(name + "/" + picture);
      classes.add(name);
    }
    for (const std::string& other : inside->others) other_files.push_back(folder / name / other);
  }
  for (const std::string& name : here.pictures) files->add(name);
  listing.pictures = std::move(files);
  if (classes.size() > 0) {
    listing.columns.push_back(std::move(classes));
    if (names) std::erase(other_files, *names);
  }
  if (!here.pictures.empty()) {
    require_different_stems(folder, here.pictures);
    const fs::path table = folder / kLabelFile;
    if (std::erase(other_files, table) > 0) read_label_table(table, listing);
  }
  note_skipped(listing, other_files, "file", ", not PNG, JPEG or WebP pictures");
  note_skipped(listing, other_folders, "folder", ", hidden or without pictures");
  return listing;
}

bool has_pictures(const fs::path& folder) {
  const Entries entries(folder);
  return !entries.pictures.empty() ||
         std::ranges::any_of(entries.folders, [&](const std::string& name) {
           return !name.starts_with('.') && !Entries(folder / name).pictures.empty();
         });
}

// Where the images to test on lie: nowhere, or in one of several folders that people call so.
struct Places {
  fs::path train, test;

  explicit Places(const fs::path& folder) {
    const fs::path inner = folder / "train";
    std::vector<fs::path> tests;
    for (const char* name : {"test", "val", "validation"})
      if (is_folder(folder / name) &&
          (std::string_view(name) == "test" || has_pictures(folder / name)))
        tests.push_back(folder / name);
    if (!is_folder(inner) || (tests.empty() && !Entries(inner).pictures.empty())) return;
    train = inner;
    const auto is_sorted = [](const fs::path& path) {
      const Entries e(path);
      return e.pictures.empty() || std::ranges::find(e.others, kLabelFile) != e.others.end();
    };
    const bool labels = is_sorted(train);
    for (const fs::path& path : tests)
      if (test.empty() || (labels && !is_sorted(test) && is_sorted(path))) test = path;
  }
};

}  // namespace

std::vector<Dataset> load_image_folder(const fs::path& folder, std::span<const Split> splits,
                                       const ImageOptions& options) {
  const Places places(folder);
  const bool has_test = !places.test.empty();
  const fs::path& main = places.train.empty() ? folder : places.train;
  auto names = find_class_names(folder);
  // The table of the pictures beside it.
  if (names == main / kLabelFile && !Entries(main).pictures.empty()) names.reset();
  const auto check = [&](Listing& own, bool tests) {
    require(own.pictures->size() > 0,
            "{} holds neither IDX files (train-images-idx3-ubyte, ...) nor PNG, JPEG or WebP "
            "files, side by side or in one folder per class",
            show(tests ? places.test : main));
    if (places.train.empty()) return;
    std::vector<fs::path> besides = io::list_folder(folder);
    std::erase_if(besides, [&](const fs::path& path) {
      return path == places.train || path == places.test || path == names;
    });
    note_skipped(own, besides, "item", " beside train and test");
  };
  const auto name = [&](Dataset& set) {
    const auto category = std::ranges::find_if(set.attributes, &Attribute::is_category);
    if (names && category != set.attributes.end()) name_classes(*category, *names);
  };
  return load_listed(
      splits, options,
      {has_test, [&](bool tests) { return list_pictures(tests ? places.test : main, names); },
       check, name});
}

}  // namespace diffscm::data
