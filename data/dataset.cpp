#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/celeba.h"
#include "data/class_names.h"
#include "data/digits.h"
#include "data/faces.h"
#include "data/idx_folder.h"
#include "data/image_folder.h"
#include "data/mnist.h"
#include "data/morpho/morpho.h"
#include "data/npz_archive.h"
#include "data/pendulum.h"
#include "data/splits.h"
#include "data/tar_shards.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;

// The last part of its path, whatever slashes or dots end it.
std::string name_of_source(const fs::path& path) {
  const fs::path full = fs::absolute(path).lexically_normal();
  return (full.has_filename() ? full : full.parent_path()).filename().string();
}

// Tables lie beside Morpho-MNIST's files, and others in their layout: the labels are digits. Those
// of other sets may have names.
Dataset load_idx_set(const IdxFiles& files, const fs::path& folder, Split split) {
  if (!files.table[0] && !files.table[1]) {
    Dataset set = load_idx(files, folder, split);
    const fs::path names =
        folder / (files.prefix + (files.prefix.empty() ? "" : "-") + "classes.txt");
    std::error_code ignored;
    if (fs::exists(names, ignored)) name_classes(set.attributes[0], names);
    return set;
  }
  Dataset set = load_idx(files, folder, split, "digit", std::ssize(plausible_digits()));
  morpho::recognise(set, split);
  return set;
}

// The only set in the folder, or the one without a prefix.
Dataset load_idx_folder(const fs::path& folder, const std::vector<IdxFiles>& sets, Split split) {
  std::string choices;
  for (const IdxFiles& set : sets) {
    if (set.prefix.empty() || sets.size() == 1) return load_idx_set(set, folder, split);
    choices += (choices.empty() ? "" : ", ") + io::show(folder / set.prefix);
  }
  fail("{} holds several data sets: give one of {}", io::show(folder), choices);
}

using Sets = std::vector<Dataset>;

template <class Load>
Sets each(std::span<const Split> splits, Load&& load) {
  Sets sets;
  for (const Split split : splits) sets.push_back(load(split));
  return sets;
}

Sets load_folder(const fs::path& folder, std::span<const Split> splits, std::string_view options) {
  if (is_celeba(folder))
    return each(splits, [&](Split split) { return load_celeba(folder, split, options); });
  const auto sets = find_idx_files(folder);
  if (sets.empty())
    return load_image_folder(folder, splits, parse_image_options(options, io::show(folder)));
  require(options.empty(), "{} holds IDX files, which have no options: {}", io::show(folder),
          io::show(options));
  return each(splits, [&](Split split) { return load_idx_folder(folder, sets, split); });
}

// A world or a set that has a name of its own.
std::optional<Dataset> load_named(const std::string& spec, Split split, uint64_t seed) {
  if (spec == "mnist") return load_mnist(split);
  if (spec == "digits") return load_digits(split, seed);
  if (spec == "faces") return load_faces(split, seed);
  if (spec.starts_with("faces:"))
    return load_faces(split, seed, parse_face_side(std::string_view(spec).substr(6)));
  if (spec == "pendulum") return load_pendulum(split, seed);
  if (spec == "morpho") return morpho::load_morpho(split, seed);
  return {};
}

Sets load_sources(const std::string& spec, std::span<const Split> splits, uint64_t seed) {
  Sets named;
  for (const Split split : splits)
    if (auto set = load_named(spec, split, seed)) named.push_back(std::move(*set));
  if (!named.empty()) return named;
  const fs::path path = spec;
  std::error_code ignored;
  if (const size_t at = spec.rfind(':'); at != std::string::npos && is_tar(spec.substr(0, at)))
    return load_tar(spec.substr(0, at), splits,
                    parse_image_options(std::string_view(spec).substr(at + 1), io::show(spec)));
  if (is_tar(path)) return load_tar(path, splits, {});
  if (fs::is_directory(path, ignored)) return load_folder(path, splits, "");
  const auto npz = [&](const fs::path& file, const std::string& range) {
    return each(splits, [&](Split split) { return load_npz(file, split, range); });
  };
  if (fs::exists(path, ignored)) {
    require(io::ending_of(spec) == ".npz", "{} is not a data set: give {}", io::show(spec),
            kSources);
    return npz(path, "");
  }
  constexpr std::string_view kRange = ":range=";
  if (const size_t at = spec.rfind(kRange);
      at != std::string::npos && io::ending_of(spec.substr(0, at)) == ".npz")
    return npz(spec.substr(0, at), spec.substr(at + kRange.size()));
  if (const size_t at = spec.rfind(':'); at != std::string::npos)
    if (const fs::path folder = spec.substr(0, at); fs::is_directory(folder, ignored)) {
      Sets sets = load_folder(folder, splits, std::string_view(spec).substr(at + 1));
      for (Dataset& set : sets) set.name = name_of_source(folder);
      return sets;
    }
  if (fs::is_directory(path.parent_path(), ignored))
    for (const IdxFiles& files : find_idx_files(path.parent_path()))
      if (files.prefix == path.filename())
        return each(splits,
                    [&](Split split) { return load_idx_set(files, path.parent_path(), split); });
  fail("data set {} does not exist: give {}", io::show(spec), kSources);
}

// What a person should know of the set as that split.
void complete(Dataset& set, const std::string& spec, Split split) {
  // Names end up in JSON, in models and results: a byte that is not UTF-8 must not end a training.
  set.name = io::as_utf8(set.name.empty() ? name_of_source(spec) : set.name);
  if (split == Split::test && !set.has_test)
    set.notes.push_back(fmt::format(
        "{} has no test data of its own: these are the training images again", set.name));
  std::vector<int64_t> count(static_cast<size_t>(set.classes));
  for (const int64_t label : set.labels) ++count[static_cast<size_t>(label)];
  const auto missing = std::ranges::count(count, 0);
  if (split == Split::train && missing > 0)
    set.notes.push_back(
        fmt::format("{} has no training image of {} of its {} classes, among them {}", set.name,
                    missing, set.classes,
                    set.label_attribute().show(
                        static_cast<double>(std::ranges::find(count, 0) - count.begin()))));
}

}  // namespace

int64_t Dataset::size() const {
  if (source) return source->size();
  const int64_t image = height * width * channels;
  return image == 0 ? 0 : static_cast<int64_t>(pixels.size()) / image;
}

void Dataset::add(Attribute attribute, std::vector<double> values_of_it) {
  require(static_cast<int64_t>(values_of_it.size()) == size(),
          "{} values of {} for the {} images of {}", values_of_it.size(), attribute.name, size(),
          name);
  require(std::ranges::find(attributes, attribute.name, &Attribute::name) == attributes.end(),
          "{} has the attribute {} twice", name, io::show(attribute.name));
  for (const double value : values_of_it) attribute.check(value);
  if (classes == 0 && attribute.is_category()) {
    classes = std::ssize(attribute.states);
    labels.assign(values_of_it.begin(), values_of_it.end());
  }
  attributes.push_back(std::move(attribute));
  values.push_back(std::move(values_of_it));
}

void Dataset::learn(std::string_view category) {
  const auto at = &find_attribute(attributes, category) - attributes.data();
  require(attributes[at].is_category(), "'{}' of {} is a number, not a category",
          attributes[at].name, name);
  if (attributes[at] == label_attribute()) return;
  std::rotate(attributes.begin(), attributes.begin() + at, attributes.begin() + at + 1);
  std::rotate(values.begin(), values.begin() + at, values.begin() + at + 1);
  classes = std::ssize(attributes[0].states);
  labels.assign(values[0].begin(), values[0].end());
  plausible.clear();
}

const Attribute& Dataset::label_attribute() const {
  const auto found = std::ranges::find_if(attributes, &Attribute::is_category);
  require(found != attributes.end(), "data set {} has no labels", name);
  return *found;
}

nlohmann::json Dataset::description() const {
  return {{"name", name},
          {"height", height},
          {"width", width},
          {"channels", channels},
          {"classes", classes},
          {"size", size()},
          {"attributes", attributes_to_json(attributes)}};
}

Assignment Dataset::factual(int64_t i) const {
  require(i >= 0 && i < size(), "image {} of data set {}, which has {}", i, name, size());
  Assignment assignment;
  for (size_t a = 0; a < attributes.size(); ++a)
    assignment[attributes[a].name] = values[a][static_cast<size_t>(i)];
  return assignment;
}

std::vector<int64_t> Dataset::plausible_targets(int64_t label) const {
  require(label >= 0 && label < classes, "label {} is outside the {} classes of {}", label, classes,
          name);
  require(classes >= 2, "data set {} has one class only: there is no other it could have been",
          name);
  if (!plausible.empty()) return plausible[static_cast<size_t>(label)];
  std::vector<int64_t> others;
  for (int64_t c = 0; c < classes; ++c)
    if (c != label) others.push_back(c);
  return others;
}

Tensor Dataset::images(std::span<const int64_t> index) const {
  const int64_t image = height * width * channels, count = size();
  Tensor batch({static_cast<int64_t>(index.size()), height, width, channels});
  float* out = batch.mutable_data();
  for (const int64_t i : index)
    require(i >= 0 && i < count, "image {} of data set {}, which has {}", i, name, count);
  if (pixels.empty()) {
    in_parallel(std::ssize(index), [&](int64_t k) {
      std::vector<uint8_t> levels(static_cast<size_t>(image));
      source->read(index[static_cast<size_t>(k)], levels);
      std::ranges::transform(levels, out + k * image, pixel_of_byte);
    });
    return batch;
  }
  for (const int64_t i : index) out = std::copy_n(pixels.data() + i * image, image, out);
  return batch;
}

std::vector<int64_t> Dataset::labels_of(std::span<const int64_t> index) const {
  require(!labels.empty(), "data set {} has no labels", name);
  std::vector<int64_t> out;
  out.reserve(index.size());
  for (const int64_t i : index) {
    require(i >= 0 && i < static_cast<int64_t>(labels.size()),
            "label {} of data set {}, which has {}", i, name, labels.size());
    out.push_back(labels[static_cast<size_t>(i)]);
  }
  return out;
}

const char* name_of(Split split) {
  return split == Split::train ? "train" : "test";
}

Split parse_split(std::string_view name) {
  if (name == "train") return Split::train;
  if (name == "test") return Split::test;
  fail("split {} is unknown: train or test", io::show(name));
}

Dataset load_dataset(const std::string& spec, Split split, uint64_t seed) {
  Dataset set = std::move(load_sources(spec, {&split, 1}, seed).front());
  complete(set, spec, split);
  return set;
}

Splits load_splits(const std::string& spec, uint64_t seed) {
  constexpr std::array kBoth{Split::train, Split::test};
  Sets sets = load_sources(spec, kBoth, seed);
  for (size_t s = 0; s < kBoth.size(); ++s) complete(sets[s], spec, kBoth[s]);
  return {std::move(sets[0]), std::move(sets[1])};
}

}  // namespace diffscm::data
