// What every subcommand shares: the common flags, and how a subcommand is registered.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "apps/console.h"
#include "engine/tensor.h"
#include "kernels/error.h"

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

struct Common {
  std::string device;  // empty: cuda if usable, else cpu
  std::string precision = "f32";
  int threads = 0;
  uint64_t seed = 0;
  bool quiet = false;
  bool json = false;
  std::string config;  // expanded before the command line is parsed
  std::string command_line;
  Console console;

  // What the layers compute in.
  Dtype layers() const { return precision == "bf16" ? Dtype::bf16 : Dtype::f32; }
  Target target() const {
    return device.empty() ? default_target() : as_usage([&] { return parse_target(device); });
  }
};

// Each adds its subcommand to `app`; `common` outlives the parse. The callback does the work.
void add_train(CLI::App& app, Common& common);
void add_sample(CLI::App& app, Common& common);
void add_abduct(CLI::App& app, Common& common);
void add_counterfactual(CLI::App& app, Common& common);
void add_sweep(CLI::App& app, Common& common);
void add_evaluate(CLI::App& app, Common& common);
void add_inspect(CLI::App& app, Common& common);
void add_targets(CLI::App& app, Common& common);

}  // namespace diffscm::apps
