// Flags, declared once. The flags of a command are a struct whose visit() lists them:
//
//   struct Flags {
//     std::string out;
//     int steps = 0;
//     template <class V>
//     void visit(V&& flag) {
//       flag("steps", &steps, "levels of the chain", {.least = 1, .otherwise = "the model's"});
//       flag("out", &out, "output folder", {.required = true, .value = "DIR"});
//     }
//   };
//
// From this one list come the options of the command line, their ranges and defaults, the keys of a
// --config file, what run.json says under "options", the manual and the completions.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/error.h"

namespace CLI {
class App;
}

namespace diffscm::apps {

// The command line is wrong: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Runs `check`, whose errors are about the values of flags.
template <class F>
decltype(auto) as_usage(F&& check) {
  try {
    return check();
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

struct FlagTraits {
  bool required = false;
  bool positional = false;
  double least = -kUnbounded, most = kUnbounded;  // of a number, included
  bool positive = false;                          // a number above 0
  std::vector<std::string> choices = {};          // nothing else is taken
  // What --help calls the value and completion offers: words, and FILE or DIR, as "mnist|FILE".
  std::string value = {};
  std::string otherwise = {};  // what happens without it, where its variable does not say so
  bool commas = false;         // a list of texts may be one text: a,b,c (of numbers always)
  bool model = false;          // a file, a run's folder or the name of a shipped model
};

// Texts and numbers are replaced by the value given, lists by all of them.
using FlagVariable = std::variant<bool*, int*, int64_t*, uint64_t*, double*, std::string*,
                                  std::vector<std::string>*, std::vector<double>*>;

// The whole number, or the number, that `text` is. Throws UsageError naming `what` ("--steps"), the
// text and the range in words.
int64_t parse_whole(std::string_view what, std::string_view text, int64_t least, int64_t most);
double parse_number(std::string_view what, std::string_view text, const FlagTraits& traits);

// For visit(): adds an option of the command line for each flag.
class FlagDeclarer {
 public:
  explicit FlagDeclarer(CLI::App& command) : command_(command) {}
  void operator()(const std::string& name, FlagVariable variable, std::string help,
                  const FlagTraits& traits = {}) const;

 private:
  CLI::App& command_;
};

// Flag by flag what it is set to, "max-iterations" as max_iterations: the "options" of run.json.
template <class F>
nlohmann::ordered_json echo(F& flags) {
  nlohmann::ordered_json options;
  flags.visit(
      [&](std::string name, FlagVariable variable, const std::string&, const FlagTraits& = {}) {
        for (char& c : name)
          if (c == '-') c = '_';
        std::visit([&](const auto* value) { options[name] = *value; }, variable);
      });
  return options;
}

// Whether the command line or the --config file gave the flag ("--images").
bool was_given(const CLI::App& command, const char* flag);

// Adds a subcommand that calls `work` once its flags are parsed.
CLI::App& add_subcommand(CLI::App& app, const std::string& name, const std::string& help,
                         std::function<void()> work);

}  // namespace diffscm::apps
