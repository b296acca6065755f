// Pictures that were found, and what is known of them in text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"
#include "data/picture_store.h"

namespace diffscm::data {

// A cell for each picture. Each different one is kept once: a million pictures have a thousand
// classes.
class TextColumn {
 public:
  // `labels`: its cells are names, whole numbers too, which are labels.
  explicit TextColumn(std::string name, bool labels = false)
      : name_(std::move(name)), labels_(labels) {}
  void add(std::string_view cell);

  const std::string& name() const { return name_; }
  bool labels() const { return labels_; }
  int64_t size() const { return static_cast<int64_t>(codes_.size()); }
  const std::vector<std::string>& different() const { return different_; }
  const std::vector<uint32_t>& codes() const { return codes_; }  // into different()

 private:
  std::string name_;
  bool labels_;
  std::vector<std::string> different_;
  std::unordered_map<std::string, uint32_t> code_;
  std::vector<uint32_t> codes_;
};

// The pictures of one split.
struct Listing {
  std::unique_ptr<PictureStore> pictures;
  std::vector<TextColumn> columns;  // what is known of them
  std::filesystem::path table;      // where the columns stand, for messages
  std::vector<std::string> notes;   // on what is not read
};

// The number that a class is called by: "0", "12", but not "012" or "-1".
std::optional<int64_t> class_number(const std::string& name);

// Adds the attributes of `own` by the names and in the order of the training images, `train`, which
// is one of the two. Their states are those of both splits, so that these agree; `other` may be
// without. Columns of labels are categories; so is a column that is alone, unless its cells are
// numbers and not whole; others are what attribute_of_cells() decides. Throws Error when the splits
// know different things.
void add_columns(Dataset& set, const Listing& own, const Listing& other, const Listing& train);

// False too where that cannot be found out.
bool is_folder(const std::filesystem::path& path);

// "skipped 4 files, not pictures: "0/a.txt", "0/b.txt", "0/c.txt", ..."
void note_skipped(Listing& listing, const std::vector<std::filesystem::path>& paths,
                  const char* what, const char* why);

}  // namespace diffscm::data
