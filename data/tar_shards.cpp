#include "data/tar_shards.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/attribute_column.h"
#include "data/class_names.h"
#include "data/listed_splits.h"
#include "data/listing.h"
#include "data/options.h"
#include "data/progress.h"
#include "engine/io/ending.h"
#include "engine/io/json.h"
#include "engine/io/picture_file.h"
#include "engine/io/tar.h"
#include "engine/io/trim.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;
using nlohmann::json;

constexpr uint64_t kPictureLimit = uint64_t{1} << 28, kTextLimit = uint64_t{1} << 20;

// Members of several archives. Their names lie in one text.
class TarFiles : public PictureStore {
 public:
  explicit TarFiles(std::vector<fs::path> shards) : shards_(std::move(shards)) {}
  void add(const io::TarMember& member, size_t shard) {
    text_ += member.name;
    members_.push_back({member.header, member.bytes, text_.size(), static_cast<uint32_t>(shard)});
  }

  int64_t size() const override { return std::ssize(members_); }
  std::string_view name(int64_t i) const override {
    const std::string_view whole = path(i);
    return whole.substr(whole.rfind('/') + 1);
  }
  std::string where(int64_t i) const override {
    return fmt::format("{} in {}", show(path(i)), show(shards_[at(i).shard]));
  }
  uint64_t length(int64_t i) const override { return at(i).bytes; }
  io::Bytes read(int64_t i) const override {
    const io::FileReader archive(shards_[at(i).shard]);
    return io::read_tar_member(archive, {std::string(path(i)), at(i).header, at(i).bytes},
                               where(i));
  }

 private:
  struct Member {
    uint64_t header, bytes, name_end;
    uint32_t shard;
  };
  const Member& at(int64_t i) const { return members_.at(static_cast<size_t>(i)); }
  std::string_view path(int64_t i) const {
    const uint64_t begin = i == 0 ? 0 : at(i - 1).name_end;
    return std::string_view(text_).substr(begin, at(i).name_end - begin);
  }

  std::vector<fs::path> shards_;
  std::string text_;
  std::vector<Member> members_;
};

// What the samples' .json say, one column for each key.
class JsonColumns {
 public:
  // Of sample number `sample`, the next one.
  void add(int64_t sample, const json& object) {
    for (const auto& [key, value] : object.items()) {
      Column& column = columns_.try_emplace(key, key).first->second;
      const auto cell = as_cell(value);
      if (!cell || column.text.size() != sample) column.why = cell ? kLacking : kNested;
      if (!column.why) column.text.add(*cell);
      if (std::ssize(column.text.different()) > kMaxStates && !is_number(*cell))
        column.why = kCaption;
      if (column.why) column.text = TextColumn(key);
    }
  }
  // Those that every one of the samples has, and notes on the others.
  void move_to(Listing& listing, int64_t samples) {
    for (auto& [key, column] : columns_) {
      const std::vector<std::string>& cells = column.text.different();
      if (!column.why && column.text.size() != samples) column.why = kLacking;
      if (!column.why && std::ssize(cells) == samples && samples > int64_t{kFewNumbers} &&
          std::ranges::none_of(cells, is_number))
        column.why = kCaption;
      if (column.why)
        listing.notes.push_back(
            fmt::format("{} of the .json members is not read: {}", show(key), column.why));
      else
        listing.columns.push_back(std::move(column.text));
    }
  }

 private:
  static constexpr const char *kLacking = "some samples lack it",
                              *kNested = "it is no number, text or truth",
                              *kCaption = "nearly every sample has another";
  struct Column {
    explicit Column(const std::string& key) : text(key) {}
    TextColumn text;
    const char* why = nullptr;  // it is not read
  };
  static std::optional<std::string> as_cell(const json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number() || value.is_boolean()) return io::dump(value);
    return {};
  }
  std::map<std::string, Column> columns_;
};

// Reads members one after another and puts them together to samples.
class Samples {
 public:
  explicit Samples(std::vector<fs::path> shards)
      : shards_(shards), files_(std::make_unique<TarFiles>(std::move(shards))) {}

  Listing read() {
    std::optional<LongWork> work;
    if (shards_.size() > 8) work.emplace("listing tar files", std::ssize(shards_));
    for (shard_ = 0; shard_ < shards_.size(); ++shard_) {
      io::list_tar(shards_[shard_], [&](const io::TarMember& member, const io::ReadMember& bytes) {
        take(member, bytes);
      });
      finish();
      if (work) work->step_done();
    }
    Listing listing;
    const int64_t samples = files_->size();
    listing.pictures = std::move(files_);
    listing.table = shards_.front().parent_path();
    if (classes_.size() > 0) listing.columns.push_back(std::move(classes_));
    json_.move_to(listing, samples);
    note_skipped(listing, skipped_, "member", " of archives, neither picture nor label");
    if (without_picture_ > 0)
      listing.notes.push_back(fmt::format("{} samples have no picture", without_picture_));
    return listing;
  }

 private:
  void take(const io::TarMember& member, const io::ReadMember& bytes) {
    const std::string_view path = member.name;
    const size_t name = path.rfind('/') + 1, dot = path.find('.', name);
    if (name == path.size() || path[name] == '.') return skip(member);  // "._a.jpg" of macOS
    const std::string key(path.substr(0, dot));
    if (key != key_) {
      finish();
      key_ = key;
    }
    const std::string ending =
        io::lower_case(dot == std::string_view::npos ? "" : path.substr(dot));
    if (io::names_picture(ending) && ending.rfind('.') == 0) {  // "a.seg.png" is something else
      if (picture_)
        fail("{}: sample {} has two pictures, {} and {}", show(shards_[shard_]), show(key),
             show(picture_->name), show(member.name));
      require(member.bytes <= kPictureLimit, "{}: {} has {} bytes", show(shards_[shard_]),
              show(member.name), member.bytes);
      picture_ = member;
    } else if (ending == ".cls" || ending == ".json") {
      require(member.bytes <= kTextLimit, "{}: {} has {} bytes, more than a label takes",
              show(shards_[shard_]), show(member.name), member.bytes);
      const io::Bytes text = bytes();
      (ending == ".cls" ? class_ : object_).emplace(text.begin(), text.end());
    } else {
      skip(member);
    }
  }

  void skip(const io::TarMember& member) {
    if (std::ssize(skipped_) < kSkipped) skipped_.emplace_back(member.name);
  }

  // What the members of one sample say.
  void finish() {
    if (picture_) {
      const int64_t sample = files_->size();
      const auto where = [&] { return show(shards_[shard_]) + ", sample " + show(key_); };
      files_->add(*picture_, shard_);
      if (class_) classes_.add(io::trimmed(*class_));
      if (classes_.size() != (class_ ? sample + 1 : 0))
        fail("{}: some samples have a .cls, others none", where());
      if (object_) {
        const json object = io::parse_json(*object_);
        if (!object.is_object()) fail("{}: the .json is no JSON object", where());
        json_.add(sample, object);
      }
    } else if (!key_.empty() && (class_ || object_)) {
      ++without_picture_;
    }
    key_.clear();
    picture_.reset();
    class_.reset();
    object_.reset();
  }

  static constexpr int64_t kSkipped = 1000000;
  std::vector<fs::path> shards_;
  std::unique_ptr<TarFiles> files_;
  size_t shard_ = 0;
  std::string key_;  // of the present sample
  std::optional<io::TarMember> picture_;
  std::optional<std::string> class_, object_;
  TextColumn classes_{"class", /*labels=*/true};
  JsonColumns json_;
  std::vector<fs::path> skipped_;
  int64_t without_picture_ = 0;
};

bool ends_in_tar(const fs::path& path) {
  return io::ending_of(path.native()) == ".tar" && !path.filename().string().starts_with('.');
}

std::vector<fs::path> tars_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!is_folder(folder)) return files;
  for (const fs::path& path : io::list_folder(folder))
    if (ends_in_tar(path) && !is_folder(path)) files.push_back(path);
  return files;
}

// Whether one of the words stands in a name between anything but letters: "test" not in "latest".
bool has_word(std::string_view name, std::initializer_list<std::string_view> words) {
  const auto is_letter = [&](size_t at) {
    return at < name.size() && std::isalpha(static_cast<unsigned char>(name[at])) != 0;
  };
  for (const std::string_view word : words)
    for (size_t at = name.find(word); at != std::string_view::npos; at = name.find(word, at + 1))
      if (!(at > 0 && is_letter(at - 1)) && !is_letter(at + word.size())) return true;
  return false;
}

struct Shards {
  std::vector<fs::path> train, test;  // test may be empty: train serves both

  explicit Shards(const fs::path& path) {
    std::vector<fs::path> all;
    if (is_folder(path)) {
      all = tars_in(path);
      for (const char* name : {"train", "test", "val", "validation"})
        std::ranges::copy(tars_in(path / name), std::back_inserter(all));
    } else {
      all = expand_shards(path.string());
    }
    const fs::path& folder = is_folder(path) ? path : path.parent_path();
    const auto called = [&](std::initializer_list<std::string_view> words) {
      std::vector<fs::path> some;
      for (const fs::path& file : all)
        if (has_word(file.lexically_relative(folder).string(), words)) some.push_back(file);
      return some;
    };
    train = called({"train", "training"});
    test = called({"test"});
    if (test.empty()) test = called({"val", "validation"});
    if (train.empty() || test.empty()) {
      if (train.empty()) train = std::move(all);
      test.clear();
    }
  }
};

}  // namespace

std::vector<fs::path> expand_shards(std::string_view pattern) {
  const size_t open = pattern.find('{'), close = pattern.find('}', std::min(open, pattern.size()));
  if (open == std::string_view::npos) return {pattern};
  const auto refuse = [&] {
    fail("{}: give the shards' numbers as in shards-{{0000..0009}}.tar", show(pattern));
  };
  if (close == std::string_view::npos || pattern.find('{', open + 1) != std::string_view::npos)
    refuse();
  const std::string_view range = pattern.substr(open + 1, close - open - 1);
  const size_t dots = range.find("..");
  if (dots == std::string_view::npos) refuse();
  const auto number = [&](std::string_view text) {
    const auto value = as_number(text);
    if (!value || *value < 0) refuse();
    return *value;
  };
  const std::string_view low = range.substr(0, dots), high = range.substr(dots + 2);
  const int64_t first = number(low), last = number(high);
  require(first <= last && last - first < 1000000, "{}: {} to {} are no shards", show(pattern),
          first, last);
  std::vector<fs::path> files;
  for (int64_t i = first; i <= last; ++i)
    files.emplace_back(fmt::format("{}{:0{}}{}", pattern.substr(0, open), i, low.size(),
                                   pattern.substr(close + 1)));
  return files;
}

bool is_tar(const fs::path& path) {
  if (is_folder(path)) return !tars_in(path).empty() || !tars_in(path / "train").empty();
  std::error_code ignored;
  return ends_in_tar(path) &&
         (fs::exists(path, ignored) || path.string().find('{') != std::string::npos);
}

std::vector<Dataset> load_tar(const fs::path& path, std::span<const Split> splits,
                              const ImageOptions& options) {
  const Shards shards(path);
  std::string name;
  if (!is_folder(path)) {
    const std::string stem = path.stem().string();
    name = stem.substr(0, std::min(stem.find('{'), stem.size()));
    while (!name.empty() && std::string_view("-_.").find(name.back()) != std::string::npos)
      name.pop_back();
  }
  const auto check = [&](const Listing& own, bool) {
    require(own.pictures->size() > 0, "{} holds no PNG, JPEG or WebP files", show(path));
  };
  const auto name_states = [&](Dataset& set) {
    const auto names = find_class_names(is_folder(path) ? path : path.parent_path());
    const auto category = std::ranges::find(set.attributes, "class", &Attribute::name);
    if (names && category != set.attributes.end() && category->is_category())
      name_classes(*category, *names);
  };
  std::vector<Dataset> sets =
      load_listed(splits, options,
                  {!shards.test.empty(),
                   [&](bool tests) { return Samples(tests ? shards.test : shards.train).read(); },
                   check, name_states});
  for (Dataset& set : sets) set.name = name;
  return sets;
}

}  // namespace diffscm::data
