// What every subcommand shares: the common flags, and how a subcommand is registered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "apps/console.h"
#include "apps/flags.h"
#include "engine/tensor.h"
#include "kernels/error.h"

namespace diffscm::apps {

struct Common {
  std::string device;  // empty: cuda if usable, else cpu
  std::string precision = "f32";
  int threads = 0;
  uint64_t seed = 0;
  bool quiet = false;
  bool json = false;
  std::string config;  // expanded before the command line is parsed
  template <class V>
  void visit(V&& flag) {
    flag("device", &device, "what computes",
         {.choices = {"cuda", "cpu", "emu"}, .otherwise = "cuda if usable, else cpu"});
    flag("precision", &precision, "of the layers; bf16 on cuda and emu",
         {.choices = {"f32", "bf16"}});
    flag("threads", &threads, "threads of the cpu target", {.least = 0, .otherwise = "all"});
    flag("seed", &seed, "seed of every random number");
    flag("config", &config, "read flags from a TOML file: flag = value",
         {.value = "FILE", .otherwise = "none"});
    flag("quiet", &quiet, "no progress, no messages");
    flag("json", &json, "print the summary as JSON on stdout");
  }

  std::string command_line;
  Console console;

  // What the layers compute in.
  Dtype layers() const { return precision == "bf16" ? Dtype::bf16 : Dtype::f32; }
  Target target() const {
    return device.empty() ? default_target() : as_usage([&] { return parse_target(device); });
  }
};

// A subcommand with the flags of F, which `defaults` presets; `work` gets them parsed.
template <class F>
void add_command(CLI::App& app, const std::string& name, const std::string& help, Common& common,
                 void (*work)(Common&, F), F defaults = {}) {
  const auto flags = std::make_shared<F>(std::move(defaults));
  flags->visit(FlagDeclarer(
      add_subcommand(app, name, help, [&common, flags, work] { work(common, *flags); })));
}

// All that the program has: apps/commands.cpp, or apps/demo/commands.cpp.
void add_commands(CLI::App& app, Common& common);
// Each adds its subcommand to `app`; `common` outlives the parse. The callback does the work.
void add_train(CLI::App& app, Common& common);
void add_sample(CLI::App& app, Common& common);
void add_abduct(CLI::App& app, Common& common);
void add_counterfactual(CLI::App& app, Common& common);
void add_likelihood(CLI::App& app, Common& common);
void add_sweep(CLI::App& app, Common& common);
void add_evaluate(CLI::App& app, Common& common);
void add_scm(CLI::App& app, Common& common);
void add_inspect(CLI::App& app, Common& common);
void add_import(CLI::App& app, Common& common);
void add_export(CLI::App& app, Common& common);
void add_targets(CLI::App& app, Common& common);
void add_profile(CLI::App& app, Common& common);
void add_generate(CLI::App& app, Common& common);

}  // namespace diffscm::apps
