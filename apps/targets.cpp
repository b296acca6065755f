// diffscm targets: which devices this program can use, and which operators each implements.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/command.h"

namespace diffscm::apps {

void add_targets(CLI::App& app, Common& common) {
  CLI::App* command = app.add_subcommand("targets", "Show the devices and their operators");
  command->callback([&common] {
    const std::vector<Target> targets = available_targets();
    if (common.json) {
      nlohmann::ordered_json all;
      for (const Target target : targets)
        kernels::OperatorTable::each(operators(target), [&](const char* name, const auto& entry) {
          all[name_of(target)][name] = static_cast<bool>(entry);
        });
      fmt::print("{}\n", all.dump(2));
      return;
    }
    fmt::print("{:<24}", "operator");
    for (const Target target : targets) fmt::print("{:>6}", name_of(target));
    fmt::print("\n");
    kernels::OperatorTable::each(operators(targets.front()), [&](const char* name, const auto&) {
      fmt::print("{:<24}", name);
      for (const Target target : targets)
        kernels::OperatorTable::each(operators(target), [&](const char* other, const auto& entry) {
          if (std::string_view(other) == name) fmt::print("{:>6}", entry ? "yes" : "-");
        });
      fmt::print("\n");
    });
    fmt::print("default: {}, {} threads\n", name_of(default_target()), threads());
  });
}

}  // namespace diffscm::apps
