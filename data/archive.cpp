#include "data/archive.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "engine/io/file.h"
#include "engine/io/npz.h"
#include "engine/io/png.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr int64_t kMaxClasses = 100000;
constexpr uint64_t kLabelFileLimit = uint64_t{1} << 28;

float scaled(uint8_t value) {
  return static_cast<float>(value) / 127.5f - 1.0f;
}

std::optional<int64_t> parse_label(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  if (value < 0 || value >= kMaxClasses) return {};
  return value;
}

// As many classes as the largest label says, `classes` at least.
void add_labels(Dataset& set, const std::vector<int64_t>& labels, int64_t classes = 0) {
  if (labels.empty()) return;
  classes = std::max(classes, *std::ranges::max_element(labels) + 1);
  set.add(numbered_category("class", classes), {labels.begin(), labels.end()});
}

const io::NpyArray* find_array(const io::NpyArrays& arrays,
                               std::initializer_list<std::string> names) {
  for (const std::string& name : names)
    if (const auto found = arrays.find(name); found != arrays.end()) return &found->second;
  return nullptr;
}

std::vector<float> pixels_of(const io::NpyArray& array, const fs::path& path) {
  std::vector<float> pixels = array.to_floats();
  if (array.type == io::NpyType::u8) {
    for (float& v : pixels) v = v / 127.5f - 1.0f;
    return pixels;
  }
  require(array.type == io::NpyType::f32 || array.type == io::NpyType::f64,
          "{}: images are {}, expected uint8 or floating point", show(path), name_of(array.type));
  float low = 1, high = -1;
  for (const float v : pixels) {
    require(!std::isnan(v), "{}: the images contain NaN", show(path));
    low = std::min(low, v);
    high = std::max(high, v);
  }
  require(low >= -1 && high <= 1,
          "{}: images range from {} to {}, expected [-1, 1]; rescale them or store uint8",
          show(path), low, high);
  return pixels;
}

std::vector<int64_t> labels_of_array(const io::NpyArray& array, int64_t images,
                                     const fs::path& path) {
  require(array.shape == Shape{images} || array.shape == (Shape{images, 1}),
          "{}: labels have shape {} for {} images", show(path), to_string(array.shape), images);
  std::vector<int64_t> labels = array.to_ints();
  for (const int64_t label : labels)
    require(label >= 0 && label < kMaxClasses, "{}: label {} is outside 0 to {}", show(path), label,
            kMaxClasses - 1);
  return labels;
}

// Label of every file named in labels.csv.
std::map<std::string, int64_t> read_label_file(const fs::path& path) {
  const io::Bytes bytes = io::read_file(path, kLabelFileLimit);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::map<std::string, int64_t> labels;
  for (int line = 1; !rest.empty(); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    const size_t comma = text.rfind(',');
    const auto label =
        comma == std::string_view::npos ? std::nullopt : parse_label(text.substr(comma + 1));
    if (!label && line == 1) continue;  // a header
    require(label.has_value(), "{}, line {}: {} is not \"file,label\" with a label from 0",
            show(path), line, show(text));
    require(labels.emplace(std::string(text.substr(0, comma)), *label).second,
            "{}, line {}: {} has two labels", show(path), line, show(text.substr(0, comma)));
  }
  return labels;
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  require(!error, "cannot list {}: {}", show(folder), error.message());
  std::ranges::sort(entries);
  return entries;
}

bool is_png(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png";
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
  for (const uint8_t v : picture.pixels) set.pixels.push_back(scaled(v));
}

}  // namespace

Dataset load_npz(const fs::path& path, Split split) {
  const io::NpyArrays arrays = io::read_npz(path);
  const std::string prefix = name_of(split);
  const bool splits = arrays.contains("train_images") || arrays.contains("test_images");
  const auto* images = splits ? find_array(arrays, {prefix + "_images"})
                              : find_array(arrays, {"images", "x", "arr_0"});
  const auto* labels = splits ? find_array(arrays, {prefix + "_labels"})
                              : find_array(arrays, {"labels", "y", "arr_1"});
  require(images != nullptr, "{} has no array {}", show(path),
          splits ? prefix + "_images" : "train_images, test_images, images, x or arr_0");
  Shape shape = images->shape;
  if (shape.size() == 3) shape.push_back(1);
  require(shape.size() == 4 && numel(shape) > 0 && (shape[3] == 1 || shape[3] == 3),
          "{}: images have shape {}, expected [N, H, W] or [N, H, W, C] with 1 or 3 channels",
          show(path), to_string(images->shape));
  Dataset set;
  set.name = path.stem().string();
  set.height = shape[1];
  set.width = shape[2];
  set.channels = shape[3];
  set.pixels = pixels_of(*images, path);
  // Both splits must agree on the number of classes although one may lack the last of them.
  int64_t classes = 0;
  const char* other = split == Split::train ? "test" : "train";
  if (const auto* also = find_array(arrays, {std::string(other) + "_labels"}); splits && also)
    for (const int64_t label : labels_of_array(*also, numel(also->shape), path))
      classes = std::max(classes, label + 1);
  if (labels) add_labels(set, labels_of_array(*labels, shape[0], path), classes);
  return set;
}

Dataset load_png_folder(const fs::path& folder, Split split) {
  std::error_code ignored;
  if (fs::is_directory(folder / "train", ignored) && fs::is_directory(folder / "test", ignored)) {
    Dataset set = load_png_folder(folder / name_of(split), split);
    set.name = folder.filename().string();
    return set;
  }
  Dataset set;
  set.name = folder.filename().string();
  std::vector<int64_t> labels;
  const std::vector<fs::path> entries = sorted_entries(folder);
  for (const fs::path& entry : entries) {
    const auto label = parse_label(entry.filename().string());
    if (!label || !fs::is_directory(entry, ignored)) continue;
    for (const fs::path& file : sorted_entries(entry)) {
      if (!is_png(file)) continue;
      append(set, file);
      labels.push_back(*label);
    }
  }
  const bool by_class = !set.pixels.empty();
  std::map<std::string, int64_t> listed_labels;
  const bool listed = !by_class && fs::exists(folder / "labels.csv", ignored);
  if (listed) listed_labels = read_label_file(folder / "labels.csv");
  for (const fs::path& entry : entries) {
    if (!is_png(entry)) continue;
    require(!by_class, "{} lies beside folders named by class: move it into one", show(entry));
    append(set, entry);
    if (!listed) continue;
    const auto label = listed_labels.find(entry.filename().string());
    require(label != listed_labels.end(), "{} is not listed in {}", show(entry),
            show(folder / "labels.csv"));
    labels.push_back(label->second);
  }
  require(!set.pixels.empty(),
          "{} holds neither IDX files ({}-images-idx3-ubyte, ...) nor PNG files", show(folder),
          split == Split::train ? "train" : "t10k");
  add_labels(set, labels);
  return set;
}

}  // namespace diffscm::data
