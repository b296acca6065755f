#include "apps/flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/shipped_models.h"
#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

template <class... T>
struct Overloaded : T... {
  using T::operator()...;
};
template <class... T>
Overloaded(T...) -> Overloaded<T...>;

// Nothing but a number, and one that T holds.
template <class T>
bool read(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

template <class T>
T whole(std::string_view what, std::string_view text, T least, T most) {
  T value{};
  if (!read(text, value) || value < least || value > most)
    throw UsageError(
        fmt::format("{} {}: give a whole number from {} to {}", what, io::show(text), least, most));
  return value;
}

// The bounds of the traits, within those of T.
template <class T>
T whole(std::string_view what, std::string_view text, const FlagTraits& traits) {
  using Limits = std::numeric_limits<T>;
  const double least = traits.positive ? std::max(1.0, traits.least) : traits.least;
  return whole<T>(
      what, text,
      least > static_cast<double>(Limits::min()) ? static_cast<T>(least) : Limits::min(),
      traits.most < static_cast<double>(Limits::max()) ? static_cast<T>(traits.most)
                                                       : Limits::max());
}

std::string range_in_words(const FlagTraits& t) {
  if (t.positive)
    return t.most < kUnbounded ? fmt::format("a number above 0 and up to {:g}", t.most)
                               : "a number above 0";
  if (t.least > -kUnbounded && t.most < kUnbounded)
    return fmt::format("a number from {:g} to {:g}", t.least, t.most);
  if (t.least > -kUnbounded) return fmt::format("a number of at least {:g}", t.least);
  return "a number";
}

std::vector<std::string> split_at_commas(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const std::string& text : texts) {
    size_t begin = 0;
    for (size_t comma = 0; comma != std::string::npos; begin = comma + 1) {
      comma = text.find(',', begin);
      parts.push_back(text.substr(begin, comma - begin));
    }
  }
  return parts;
}

void check_choice(const std::string& what, const std::string& text, const FlagTraits& traits) {
  if (traits.choices.empty() || std::ranges::count(traits.choices, text) > 0) return;
  throw UsageError(fmt::format("{} {}: give {}{}", what, io::show(text),
                               traits.choices.size() > 1 ? "one of " : "",
                               fmt::join(traits.choices, ", ")));
}

void set(const std::string& what, const FlagVariable& variable,
         const std::vector<std::string>& texts, const FlagTraits& traits) {
  const std::string& last = texts.back();
  for (const std::string& text : texts)  // --out --quiet would make a folder of that name
    if (text.starts_with("--"))
      throw UsageError(fmt::format("{} lacks a value before {}", what, io::show(text)));
  std::visit(Overloaded{
                 [](bool*) {},
                 [&](int* v) { *v = whole<int>(what, last, traits); },
                 [&](int64_t* v) { *v = whole<int64_t>(what, last, traits); },
                 [&](uint64_t* v) { *v = whole<uint64_t>(what, last, traits); },
                 [&](double* v) { *v = parse_number(what, last, traits); },
                 [&](std::string* v) {
                   check_choice(what, last, traits);
                   *v = traits.model && !last.empty() ? find_model(last) : last;
                 },
                 [&](std::vector<std::string>* v) {
                   *v = traits.commas ? split_at_commas(texts) : texts;
                   for (std::string& text : *v) {
                     check_choice(what, text, traits);
                     if (traits.model && !text.empty()) text = find_model(text);
                   }
                 },
                 [&](std::vector<double>* v) {
                   v->clear();
                   for (const std::string& text : split_at_commas(texts))
                     v->push_back(parse_number(what, text, traits));
                 },
             },
             variable);
}

std::string name_of_value(const FlagVariable& variable, const FlagTraits& traits) {
  if (!traits.value.empty()) return traits.value;
  if (traits.model) return "NAME|FILE";
  if (!traits.choices.empty()) return fmt::format("{}", fmt::join(traits.choices, "|"));
  return std::visit(Overloaded{
                        [](bool*) { return ""; },
                        [](int*) { return "N"; },
                        [](int64_t*) { return "N"; },
                        [](uint64_t*) { return "N"; },
                        [](double*) { return "X"; },
                        [](std::string*) { return "TEXT"; },
                        [](std::vector<std::string>*) { return "TEXT"; },
                        [](std::vector<double>*) { return "X,X,.."; },
                    },
                    variable);
}

std::string default_of(const FlagVariable& variable) {
  return std::visit(
      Overloaded{
          [](const std::vector<std::string>* v) { return fmt::format("{}", fmt::join(*v, ",")); },
          [](const std::vector<double>* v) { return fmt::format("{}", fmt::join(*v, ",")); },
          [](const auto* v) { return fmt::format("{}", *v); },
      },
      variable);
}

}  // namespace

int64_t parse_whole(std::string_view what, std::string_view text, int64_t least, int64_t most) {
  return whole<int64_t>(what, text, least, most);
}

double parse_number(std::string_view what, std::string_view text, const FlagTraits& traits) {
  double value = 0;
  if (!read(text, value) || !std::isfinite(value) || value < traits.least || value > traits.most ||
      (traits.positive && value <= 0))
    throw UsageError(fmt::format("{} {}: give {}", what, io::show(text), range_in_words(traits)));
  return value;
}

void FlagDeclarer::operator()(const std::string& name, FlagVariable variable, std::string help,
                              const FlagTraits& traits) const {
  const std::string what = traits.positional ? name : "--" + name;
  if (bool* const* on = std::get_if<bool*>(&variable)) {
    command_.add_flag(what, **on, help);
    return;
  }
  if (!traits.otherwise.empty()) help += " (default: " + traits.otherwise + ")";
  CLI::Option* option = command_.add_option(
      what,
      [what, variable, traits](const CLI::results_t& texts) {
        set(what, variable, texts, traits);
        return true;
      },
      help);
  option->type_name(name_of_value(variable, traits))->required(traits.required);
  if (std::holds_alternative<std::vector<std::string>*>(variable) ||
      std::holds_alternative<std::vector<double>*>(variable))
    option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
  if (!traits.required && traits.otherwise.empty()) option->default_str(default_of(variable));
}

bool was_given(const CLI::App& command, const char* flag) {
  return command.count(flag) > 0;
}

CLI::App& add_subcommand(CLI::App& app, const std::string& name, const std::string& help,
                         std::function<void()> work) {
  CLI::App* command = app.add_subcommand(name, help);
  command->callback(std::move(work));
  return *command;
}

}  // namespace diffscm::apps
