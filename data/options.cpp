#include "data/options.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

std::string in_words(std::span<const Option> options) {
  std::string text;
  for (const Option& o : options)
    text += fmt::format("{}{}=N, {} ({} to {})", text.empty() ? "" : "; ", o.name, o.meaning,
                        o.least, o.most);
  return text;
}

}  // namespace

std::optional<int64_t> as_number(std::string_view word) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() ? std::optional(value)
                                                                  : std::nullopt;
}

void parse_options(std::string_view text, std::string_view where, std::span<const Option> options) {
  std::vector<std::string_view> seen;
  for (bool more = true; more;) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view option = text.substr(0, comma);
    more = comma < text.size();
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = std::min(option.find('='), option.size());
    const auto known = std::ranges::find(options, option.substr(0, equals), &Option::name);
    const auto value = as_number(option.substr(std::min(equals + 1, option.size())));
    require(known != options.end() && value && *value >= known->least && *value <= known->most,
            "option {} of {}: give {}", io::show(option), where, in_words(options));
    require(std::ranges::find(seen, known->name) == seen.end(),
            "option {} of {}: {} is there twice, give it once", io::show(option), where,
            known->name);
    seen.push_back(known->name);
    *known->value = *value;
  }
}

}  // namespace diffscm::data
