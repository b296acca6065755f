#include "data/celeba.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "data/faces.h"
#include "data/options.h"
#include "data/resize.h"
#include "engine/io/file.h"
#include "engine/io/picture_file.h"
#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;
using Words = std::vector<std::string_view>;

constexpr uint64_t kListLimit = uint64_t{1} << 28;
constexpr int64_t kWidth = 178, kHeight = 218, kCrop = 150, kSmallest = 8;
constexpr const char *kAttributeList = "list_attr_celeba.txt",
                     *kPartitionList = "list_eval_partition.txt", *kImages = "img_align_celeba";

// The lines of a list, as words between spaces.
class List {
 public:
  explicit List(fs::path path) : path_(std::move(path)), bytes_(io::read_file(path_, kListLimit)) {
    rest_ = {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  // The words of the next line that has any; false at the end.
  bool next(Words& words) {
    words.clear();
    while (words.empty() && !rest_.empty()) {
      ++line_;
      const size_t end = std::min(rest_.find('\n'), rest_.size());
      std::string_view text = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      constexpr std::string_view kSpaces = " \t\r";
      for (size_t at; (at = text.find_first_not_of(kSpaces)) != std::string_view::npos;) {
        text.remove_prefix(at);
        const size_t length = std::min(text.find_first_of(kSpaces), text.size());
        words.push_back(text.substr(0, length));
        text.remove_prefix(length);
      }
    }
    return !words.empty();
  }
  template <class... A>
  void check(bool condition, fmt::format_string<A...> format, A&&... args) const {
    if (!condition)
      fail("{}, line {}: {}", show(path_), line_, fmt::format(format, std::forward<A>(args)...));
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  io::Bytes bytes_;
  std::string_view rest_;
  int64_t line_ = 0;
};

struct Annotations {
  std::vector<std::string> names;  // of the columns
  std::vector<std::string> files;
  std::vector<std::vector<bool>> is_one;  // [file][column]
};

Annotations read_annotations(const fs::path& path) {
  List list(path);
  Words words;
  Annotations all;
  const bool has_count = list.next(words) && words.size() == 1;
  const auto count = has_count ? as_number(words[0]) : std::nullopt;
  list.check(count && *count > 0, "it must begin with the number of images");
  list.check(list.next(words), "the names of the attributes are missing");
  all.names.assign(words.begin(), words.end());
  for (size_t i = 0; i < all.names.size(); ++i) {
    list.check(io::is_utf8(all.names[i]), "attribute {} is not named in UTF-8", show(all.names[i]));
    list.check(std::count(all.names.begin(), all.names.end(), all.names[i]) == 1,
               "two attributes are named {}", show(all.names[i]));
  }
  while (list.next(words)) {
    list.check(words.size() == all.names.size() + 1, "{} values for {} attributes",
               words.size() - 1, all.names.size());
    std::vector<bool> values;
    for (size_t i = 1; i < words.size(); ++i) {
      list.check(words[i] == "1" || words[i] == "-1", "{} is {}: it must be -1 or 1",
                 all.names[i - 1], show(words[i]));
      values.push_back(words[i] == "1");
    }
    all.files.emplace_back(words[0]);
    all.is_one.push_back(std::move(values));
  }
  require(std::ssize(all.files) == *count, "{} says {} images and lists {}", show(path), *count,
          all.files.size());
  return all;
}

// Of each file, 0 (train), 1 (validation) or 2 (test).
std::vector<int> read_partition(const fs::path& path, const std::vector<std::string>& files) {
  std::unordered_map<std::string_view, size_t> place;
  for (const std::string& file : files)
    require(place.emplace(file, place.size()).second, "{} is listed twice in {}", show(file),
            show(path.parent_path() / kAttributeList));
  std::vector<int> part(files.size(), -1);
  List list(path);
  for (Words words; list.next(words);) {
    const auto number = words.size() == 2 ? as_number(words[1]) : std::nullopt;
    list.check(number && *number >= 0 && *number <= 2, "it must be a file and 0, 1 or 2");
    const auto found = place.find(words[0]);
    list.check(found != place.end(), "{} is not in {}", show(words[0]), kAttributeList);
    list.check(part[found->second] < 0, "{} is listed twice", show(words[0]));
    part[found->second] = static_cast<int>(*number);
  }
  for (size_t i = 0; i < files.size(); ++i)
    require(part[i] >= 0, "{} is not in {}", show(files[i]), show(path));
  return part;
}

struct Options {
  int64_t size = 64, count = std::numeric_limits<int64_t>::max();
};

Options parse(std::string_view text, const fs::path& folder) {
  Options options;
  if (text.empty()) return options;
  const std::array all{
      Option{"size", kSmallest, kCrop, &options.size, "pixels on each side"},
      Option{"count", 1, 1'000'000'000, &options.count, "images of the split at most"}};
  parse_options(text, show(folder), all);
  return options;
}

void read_image(const fs::path& path, int64_t size, std::span<float> pixels) {
  const io::Picture picture = io::read_picture(path);
  require(picture.width == kWidth && picture.height == kHeight && picture.channels == 3,
          "{} is {} x {} x {}: CelebA's aligned images are {} x {} x 3", show(path), picture.height,
          picture.width, picture.channels, kHeight, kWidth);
  const io::Picture small = resize(centre_crop(picture, kCrop), size, size);
  std::ranges::transform(small.pixels, pixels.begin(), pixel_of_byte);
}

}  // namespace

bool is_celeba(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kAttributeList, ignored);
}

Dataset load_celeba(const fs::path& folder, Split split, std::string_view text) {
  const Options options = parse(text, folder);
  const Annotations all = read_annotations(folder / kAttributeList);
  const std::vector<int> part = read_partition(folder / kPartitionList, all.files);
  Dataset set;
  set.has_test = std::ranges::find(part, 2) != part.end();
  const int wanted = split == Split::test && set.has_test ? 2 : 0;
  std::vector<size_t> chosen;
  for (size_t i = 0; i < part.size() && std::ssize(chosen) < options.count; ++i)
    if (part[i] == wanted) chosen.push_back(i);
  require(!chosen.empty(), "{} has no training image", show(folder / kPartitionList));
  if (const auto unread = std::ranges::count(part, 1); unread > 0)
    set.notes.push_back(
        fmt::format("partition 1 (validation, {} of the images) is not read", unread));

  set.height = set.width = options.size;
  set.channels = 3;
  const int64_t values = 3 * options.size * options.size;
  set.pixels.resize(chosen.size() * static_cast<size_t>(values));
  in_parallel(std::ssize(chosen), [&](int64_t i) {
    read_image(folder / kImages / all.files[chosen[static_cast<size_t>(i)]], options.size,
               std::span(set.pixels)
                   .subspan(static_cast<size_t>(i * values), static_cast<size_t>(values)));
  });

  std::vector<std::pair<Attribute, size_t>> columns;
  for (const Attribute& drawn : face_attributes())
    if (const auto found = std::ranges::find(all.names, drawn.name); found != all.names.end())
      columns.emplace_back(drawn, found - all.names.begin());
  for (size_t c = 0; c < all.names.size(); ++c)
    if (std::ranges::find(columns, c, &std::pair<Attribute, size_t>::second) == columns.end())
      columns.emplace_back(Attribute{.name = all.names[c], .states = {"no", "yes"}}, c);
  for (const auto& [attribute, c] : columns) {
    std::vector<double> states;
    for (const size_t i : chosen) states.push_back(all.is_one[i][c] ? 1 : 0);
    set.add(attribute, std::move(states));
  }
  return set;
}

}  // namespace diffscm::data
