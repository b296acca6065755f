#include "data/npz_archive.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <set>

#include "data/attribute_column.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/npz.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::NpyArray;
using io::NpyKind;
using io::NpyType;
using io::show;

// Names in the archive of the arrays that a split is made of.
struct Names {
  std::optional<std::string> images, labels;
};

std::optional<std::string> first_of(const std::vector<std::string>& names,
                                    const std::vector<std::string>& sought) {
  for (const std::string& name : sought)
    if (const auto found = std::ranges::find(names, name, io::lower_case); found != names.end())
      return *found;
  return {};
}

Names names_of(const std::vector<std::string>& names, Split split) {
  const std::string s = name_of(split);
  return {first_of(names, {s + "_images", "x_" + s}), first_of(names, {s + "_labels", "y_" + s})};
}

std::string list(const std::vector<std::string>& names) {
  constexpr size_t kListed = 12;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kListed; ++i)
    text += (i == 0 ? "" : ", ") + show(names[i]);
  return names.empty() ? "none" : names.size() > kListed ? text + ", ..." : text;
}

struct Range {
  double low = -1, high = 1;  // black and white
};

Range parse_range(const std::string& text) {
  const auto number = [&](std::string_view part) {
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    require(error == std::errc() && end == part.data() + part.size() && std::isfinite(value),
            "range={}: give the values of black and white, as in range=0,1", text);
    return value;
  };
  const size_t comma = text.find(',');
  const Range range{
      number(std::string_view(text).substr(0, comma)),
      number(comma == std::string::npos ? "" : std::string_view(text).substr(comma + 1))};
  require(range.low < range.high, "range={}: black must be less than white", text);
  return range;
}

bool is_float(NpyType type) {
  return type == NpyType::f32 || type == NpyType::f64;
}

// Its arrays by the names in its own list, as long as they fit into memory.
struct Archive {
  const fs::path& path;
  uint64_t memory;

  std::string where(const std::string& name) const {
    return fmt::format("{}, array {}", show(path), show(name));
  }
  // For values of `bytes_each`. `check` may refuse what it is before anything is inflated.
  NpyArray read(const std::string& name, const std::function<void(const NpyKind&)>& check = {},
                uint64_t bytes_each = sizeof(double)) const {
    return io::read_npz(path, name,
                        [&](const NpyKind& kind) {
                          if (check) check(kind);
                          io::require_fits(kind, bytes_each, where(name), memory);
                        })
        .value();
  }
};

float smallest(const std::vector<float>& values) {
  return values.empty() ? 0 : *std::ranges::min_element(values);
}

class ImageReader {
 public:
  ImageReader(const Archive& archive, const std::string& range, Dataset& set)
      : archive_(archive), range_(range), set_(set) {}

  // `other` names the images of the other split, which must be read in the same way.
  void read_images(const std::string& name, const std::optional<std::string>& other) {
    where_ = archive_.where(name);
    const NpyArray array = read(name, [&](const NpyKind& kind) { check(kind); });
    const Shape shape = with_channels(array.shape);
    set_.height = shape[1];
    set_.width = shape[2];
    set_.channels = shape[3];
    set_.pixels = array.to_floats();
    if (array.type == NpyType::u8) {
      for (float& v : set_.pixels) v = pixel_of_byte(static_cast<uint8_t>(v));
    } else if (array.type == NpyType::b8) {
      for (float& v : set_.pixels) v = v != 0 ? 1 : -1;
    } else {
      rescale(other);
    }
  }

 private:
  NpyArray read(const std::string& name,
                const std::function<void(const NpyKind&)>& check = {}) const {
    return archive_.read(name, check, sizeof(float));
  }
  static Shape with_channels(Shape shape) {
    if (shape.size() == 3) shape.push_back(1);
    return shape;
  }
  void check(const NpyKind& kind) const {
    const Shape shape = with_channels(kind.shape);
    require(shape.size() == 4 && numel(shape) > 0 && (shape[3] == 1 || shape[3] == 3),
            "{}: images have shape {}, expected [N, H, W] or [N, H, W, C] with 1 or 3 channels",
            where_, to_string(kind.shape));
    require(is_float(kind.type) || range_.empty(),
            "{}: range={} is for floating-point images, not {}", where_, range_,
            name_of(kind.type));
    require(is_float(kind.type) || kind.type == NpyType::u8 || kind.type == NpyType::b8,
            "{}: images are {}, expected uint8, bool or floating point", where_,
            name_of(kind.type));
  }
  void rescale(const std::optional<std::string>& other) {
    float low = set_.pixels[0], high = set_.pixels[0];
    for (const float v : set_.pixels) {
      require(!std::isnan(v), "{}: the images contain NaN", where_);
      low = std::min(low, v);
      high = std::max(high, v);
    }
    Range range;
    if (!range_.empty()) {
      range = parse_range(range_);
    } else if (low >= 0 && (!other || smallest(read(*other).to_floats()) >= 0)) {
      range.low = 0;
    }
    const auto option = [&](const char* told) {
      return show(fs::path(archive_.path.string() + ":range=" + told));
    };
    require(low >= range.low && high <= range.high,
            "{}: images range from {} to {}, expected {} to {}; say what black and white are, as "
            "in --data {}",
            where_, low, high, range.low, range.high, option("0,255"));
    if (range_.empty())
      set_.notes.push_back(fmt::format(
          "{}: images from {} to {} are read with black {} and white 1; if that is wrong, say so "
          "with --data {}",
          where_, low, high, range.low, option(range.low == 0 ? "-1,1" : "0,1")));
    if (range.low == -1 && range.high == 1) return;  // exactly as they are
    for (float& v : set_.pixels)
      v = static_cast<float>(2 * (v - range.low) / (range.high - range.low) - 1);
  }

  const Archive& archive_;
  const std::string& range_;
  Dataset& set_;
  std::string where_;
};

// Of `images` images, or of any number when that is negative.
std::vector<int64_t> read_labels(const Archive& archive, const std::string& name, int64_t images) {
  const std::string where = archive.where(name);
  const NpyArray array = archive.read(name, [&](const NpyKind& kind) {
    const int64_t expected = images < 0 ? numel(kind.shape) : images;
    require(kind.shape == Shape{expected} || kind.shape == (Shape{expected, 1}),
            "{}: labels have shape {} for {} images", where, to_string(kind.shape), expected);
  });
  std::vector<int64_t> labels;
  if (is_float(array.type)) {
    for (const float v : array.to_floats()) {
      require(v == std::floor(v) && std::abs(v) < kMaxStates,
              "{}: label {} of image {} is not a whole number from 0 to {}", where, v,
              labels.size(), kMaxStates - 1);
      labels.push_back(static_cast<int64_t>(v));
    }
  } else {
    labels = array.to_ints();
  }
  for (size_t i = 0; i < labels.size(); ++i)
    require(labels[i] >= 0 && labels[i] < kMaxStates, "{}: label {} of image {} is outside 0 to {}",
            where, labels[i], i, kMaxStates - 1);
  return labels;
}

// A further array of a split, or of both, by the attribute that it gives the values of.
struct Further {
  std::string attribute, array;
};

// The arrays that are neither images nor labels, in the order of the archive: of a split those that
// begin with "train_" or end with "_train".
std::vector<Further> further_arrays(const std::vector<std::string>& names, const Names& own,
                                    std::string_view split) {
  std::vector<Further> found;
  for (const std::string& name : names) {
    if (name == own.images || name == own.labels) continue;
    const std::string text = io::lower_case(name), s(split);
    if (s.empty())
      found.push_back({name, name});
    else if (text.starts_with(s + "_"))
      found.push_back({name.substr(s.size() + 1), name});
    else if (text.ends_with("_" + s))
      found.push_back({name.substr(0, name.size() - s.size() - 1), name});
  }
  return found;
}

// The array, unless it cannot be an attribute, which a note then says.
std::optional<NpyArray> read_attribute(const Archive& archive, const std::string& name,
                                       int64_t images, std::vector<std::string>& notes) {
  NpyArray array;
  try {
    array = archive.read(name, [](const NpyKind& kind) {
      const Shape& shape = kind.shape;
      require(shape.size() == 1 || (shape.size() == 2 && shape[1] == 1),
              "shape {} is not one value per image", to_string(shape));
    });
  } catch (const Error& e) {
    notes.push_back(
        fmt::format("{}: array {} is not read: {}", show(archive.path), show(name), e.what()));
    return {};
  }
  require(images < 0 || array.shape[0] == images, "{}: {} values for {} images",
          archive.where(name), array.shape[0], images);
  return array;
}

// Integers and bools are what attribute_of_cells() says, over both splits; floating point a number.
void add_attribute(Dataset& set, const Archive& archive, const Further& own, const Further* other) {
  const auto array = read_attribute(archive, own.array, set.size(), set.notes);
  if (!array) return;
  const std::string where = archive.where(own.array);
  Attribute attribute{.name = own.attribute};
  std::vector<double> values = array->to_doubles();
  for (size_t i = 0; i < values.size(); ++i)
    require(std::isfinite(values[i]), "{}: the value of image {} is {}: give finite numbers", where,
            i, values[i]);
  if (!is_float(array->type)) {
    std::vector<int64_t> whole = array->to_ints();
    if (other)
      for (const int64_t v : archive.read(other->array).to_ints()) whole.push_back(v);
    std::set<std::string> cells;
    for (const int64_t v : whole) cells.insert(std::to_string(v));
    attribute = attribute_of_cells(own.attribute, cells, where);
    if (attribute.is_category())
      for (double& v : values) v = attribute.parse(std::to_string(static_cast<int64_t>(v)));
  }
  set.add(attribute, std::move(values));
}

// `other`: of the other split, if there is one; `train`: whichever of the two gives the order.
void add_attributes(Dataset& set, const Archive& archive, const std::vector<Further>& own,
                    const std::optional<std::vector<Further>>& other,
                    const std::vector<Further>& train) {
  const auto find = [&](const std::vector<Further>& arrays, const std::string& attribute) {
    const auto found = std::ranges::find(arrays, attribute, &Further::attribute);
    require(found != arrays.end(), "{} has {} for one split only", show(archive.path),
            show(attribute));
    return &*found;
  };
  if (other) {
    for (const Further& further : own) find(*other, further.attribute);
    for (const Further& further : *other) find(own, further.attribute);
  }
  for (const Further& further : train)
    add_attribute(set, archive, *find(own, further.attribute),
                  other ? find(*other, further.attribute) : nullptr);
}

}  // namespace

Dataset load_npz(const fs::path& path, Split split, const std::string& range, uint64_t memory) {
  const Archive archive{path, memory};
  const std::vector<std::string> names = io::npz_names(path);
  const Names train = names_of(names, Split::train), test = names_of(names, Split::test);
  const bool splits = train.images || test.images;
  const Names both = {first_of(names, {"images", "x", "arr_0"}),
                      first_of(names, {"labels", "y", "arr_1"})};
  Dataset set;
  set.name = path.stem().string();
  set.has_test = test.images.has_value();
  const bool tests = split == Split::test && set.has_test;
  const Names own = !splits ? both : tests ? test : train;
  const Names other = !splits ? Names{} : tests ? train : test;
  require(own.images.has_value(), "{} has no array {}; its arrays are {}", show(path),
          splits ? "train_images or x_train"
                 : "images, x or arr_0, nor train_images or x_train (capitals do not matter)",
          list(names));
  ImageReader(archive, range, set).read_images(*own.images, other.images);
  if (own.labels) {
    const std::vector<int64_t> labels = read_labels(archive, *own.labels, set.size());
    int64_t classes = *std::ranges::max_element(labels) + 1;
    // Both splits must agree on the number of classes although one may lack the last of them.
    if (other.labels)
      for (const int64_t label : read_labels(archive, *other.labels, -1))
        classes = std::max(classes, label + 1);
    set.add(numbered_category("class", classes), {labels.begin(), labels.end()});
  }
  if (!splits) {
    const auto arrays = further_arrays(names, both, "");
    add_attributes(set, archive, arrays, {}, arrays);
  } else {
    const auto trains = further_arrays(names, train, "train");
    const auto tested = further_arrays(names, test, "test");
    if (!set.has_test)
      add_attributes(set, archive, trains, {}, trains);
    else
      add_attributes(set, archive, tests ? tested : trains, tests ? trains : tested, trains);
  }
  return set;
}

}  // namespace diffscm::data
