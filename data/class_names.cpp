#include "data/class_names.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/io/file.h"
#include "engine/io/trim.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;
using io::show;

constexpr uint64_t kFileLimit = uint64_t{1} << 26;
constexpr std::string_view kBlanks = " \t\r\"";

std::vector<std::string> lines_of(const fs::path& path) {
  const io::Bytes bytes = io::read_file(path, kFileLimit);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = io::trimmed(rest.substr(0, end), kBlanks);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty()) continue;
    require(io::is_utf8(line), "{}: {} is not UTF-8", show(path), show(line));
    lines.emplace_back(line);
  }
  return lines;
}

// "n01440764 tench, Tinca tinca" -> n01440764: tench.
std::map<std::string, std::string> names_by_state(const std::vector<std::string>& lines) {
  std::map<std::string, std::string> names;
  for (const std::string_view line : lines) {
    const size_t end = line.find_first_of(" \t,");
    if (end == std::string_view::npos) continue;
    const std::string_view rest = line.substr(end + 1);
    const std::string_view name = io::trimmed(rest.substr(0, rest.find(',')), kBlanks);
    if (!name.empty()) names.emplace(line.substr(0, end), name);
  }
  return names;
}

}  // namespace

std::optional<fs::path> find_class_names(const fs::path& folder) {
  for (const char* name :
       {"classes.txt", "labels.csv", "synset_words.txt", "LOC_synset_mapping.txt", "words.txt"}) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  return {};
}

void name_classes(Attribute& category, const fs::path& file) {
  std::vector<std::string> names = lines_of(file);
  const std::set<std::string> lines(names.begin(), names.end());
  if (std::ranges::all_of(category.states, [&](const auto& s) { return lines.contains(s); }))
    return;
  const auto by_state = names_by_state(names);
  const auto is_listed = [&](const std::string& state) { return by_state.contains(state); };
  if (std::ranges::any_of(category.states, is_listed)) {
    names.clear();
    for (const std::string& state : category.states) {
      require(is_listed(state), "{} has no line for {}, as it has for others", show(file),
              show(state));
      names.push_back(by_state.at(state));
    }
  }
  require(
      names.size() == category.states.size(),
      "{} has {} lines for {} classes, and none begins with one of them, as {}: give each class "
      "a line",
      show(file), names.size(), category.states.size(), show(category.states.front()));
  std::map<std::string, int> count;
  for (const std::string& name : names) ++count[name];
  for (size_t i = 0; i < names.size(); ++i)
    if (count[names[i]] > 1) names[i] += fmt::format(" ({})", category.states[i]);
  const std::set<std::string> different(names.begin(), names.end());
  require(different.size() == names.size(), "{} names several classes alike", show(file));
  category.states = std::move(names);
}

}  // namespace diffscm::data
