#include "data/listing.h"

#include <algorithm>

#include "data/attribute_column.h"
#include "data/options.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;
using Cells = std::set<std::string>;

// The attribute whose states are these names.
Attribute category(const std::string& name, const Cells& names) {
  require(io::is_utf8(name), "attribute {} is not named in UTF-8: rename it", show(name));
  for (const std::string& state : names)
    require(io::is_utf8(state), "class {} is not named in UTF-8: rename it", show(state));
  int64_t most = -1;
  for (const std::string& state : names) {
    const auto number = class_number(state);
    if (!number) {
      require(std::ssize(names) <= kMaxStates, "{} has {} different names, more than {}",
              show(name), names.size(), kMaxStates);
      return {.name = name, .states = {names.begin(), names.end()}};
    }
    most = std::max(most, *number);
  }
  return numbered_category(name, most + 1);
}

// What the column is whose cells, over both splits, are these.
Attribute attribute_of(const TextColumn& column, const Cells& cells, bool alone,
                       const fs::path& table) {
  const auto labels = [&] {
    return std::ranges::all_of(cells, [](const auto& c) { return class_number(c).has_value(); }) ||
           std::ranges::none_of(cells, is_number);
  };
  if (column.labels() || (alone && labels())) return category(column.name(), cells);
  return attribute_of_cells(column.name(), cells, show(table));
}

}  // namespace

void TextColumn::add(std::string_view cell) {
  const auto [found, is_new] = code_.emplace(cell, static_cast<uint32_t>(different_.size()));
  if (is_new) different_.emplace_back(cell);
  codes_.push_back(found->second);
}

std::optional<int64_t> class_number(const std::string& name) {
  const auto value = as_number(name);
  const bool plain = value && *value >= 0 && *value < kMaxStates && std::to_string(*value) == name;
  return plain ? value : std::nullopt;
}

void add_columns(Dataset& set, const Listing& own, const Listing& other, const Listing& train) {
  const bool alone = own.columns.size() == 1, both = !other.columns.empty();
  for (const TextColumn& column : train.columns) {
    const auto column_of = [&](const Listing& listing) -> const TextColumn& {
      const auto found = alone
                             ? listing.columns.begin()
                             : std::ranges::find(listing.columns, column.name(), &TextColumn::name);
      require(listing.columns.size() == train.columns.size() && found != listing.columns.end(),
              "the tables of {} name different attributes for training and testing, among them {}",
              show(listing.table), show(column.name()));
      return *found;
    };
    const TextColumn& mine = column_of(own);
    Cells all(mine.different().begin(), mine.different().end());
    if (both) all.insert(column_of(other).different().begin(), column_of(other).different().end());
    const Attribute attribute = attribute_of(column, all, alone, train.table);
    std::unordered_map<std::string_view, double> states;
    for (const std::string& state : attribute.states)
      states.emplace(state, static_cast<double>(states.size()));
    std::vector<double> value_of_code;
    for (const std::string& cell : mine.different())
      value_of_code.push_back(attribute.is_category() ? states.at(cell) : attribute.parse(cell));
    std::vector<double> values;
    values.reserve(mine.codes().size());
    for (const uint32_t code : mine.codes()) values.push_back(value_of_code[code]);
    set.add(attribute, std::move(values));
  }
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void note_skipped(Listing& listing, const std::vector<fs::path>& paths, const char* what,
                  const char* why) {
  if (paths.empty()) return;
  std::string names;
  for (size_t i = 0; i < paths.size() && i < 3; ++i)
    names += (i == 0 ? "" : ", ") + show(paths[i].parent_path().filename() / paths[i].filename());
  listing.notes.push_back(fmt::format("skipped {} {}{}{}: {}{}", paths.size(), what,
                                      paths.size() == 1 ? "" : "s", why, names,
                                      paths.size() > 3 ? ", ..." : ""));
}

}  // namespace diffscm::data
