// diffscm targets: which devices this program can use, and which operators each implements.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "engine/io/json.h"

namespace diffscm::apps {

namespace {

using Json = nlohmann::ordered_json;

struct Row {
  std::string name;
  std::vector<bool> on;  // by built target
};

std::vector<Row> operator_table(const std::vector<Target>& targets) {
  std::vector<Row> rows;
  for (const Target target : targets) {
    size_t i = 0;
    operators(target).each([&](const auto& entry) {
      if (rows.size() <= i) rows.push_back({entry.name, {}});
      rows[i++].on.push_back(static_cast<bool>(entry));
    });
  }
  return rows;
}

Json device_of(Target target) {
  const std::string reason = unusable_because(target);
  if (!reason.empty()) return {{"usable", false}, {"reason", reason}};
  const kernels::DeviceMemory memory = runtime(target).memory();
  return {{"usable", true},
          {"description", runtime(target).describe()},
          {"memory_bytes", memory.total_bytes},
          {"free_bytes", memory.free_bytes}};
}

void print_json(const std::vector<Target>& usable, const std::vector<Row>& rows) {
  Json all;
  for (const Target target : {Target::cpu, Target::cuda, Target::emu})
    all[name_of(target)] = device_of(target);
  for (const Row& row : rows)
    for (size_t i = 0; i < usable.size(); ++i)
      all[name_of(usable[i])]["operators"][row.name] = static_cast<bool>(row.on[i]);
  all["default"] = name_of(default_target());
  fmt::print("{}\n", io::dump(all, 2));
}

void print_text(const std::vector<Target>& usable, const std::vector<Row>& rows) {
  constexpr double kGiB = 1 << 30;
  for (const Target target : {Target::cpu, Target::cuda, Target::emu}) {
    const Json d = device_of(target);
    if (!d["usable"].get<bool>()) {
      fmt::print("{:<6}not usable: {}\n", name_of(target), d["reason"].get<std::string>());
      continue;
    }
    fmt::print("{:<6}{}; {:.1f} of {:.1f} GiB free\n", name_of(target),
               d["description"].get<std::string>(), d["free_bytes"].get<double>() / kGiB,
               d["memory_bytes"].get<double>() / kGiB);
  }
  fmt::print("default: {}, {} threads\n\n{:<28}", name_of(default_target()), threads(), "operator");
  for (const Target target : usable) fmt::print("{:>6}", name_of(target));
  fmt::print("\n");
  for (const Row& row : rows) {
    fmt::print("{:<28}", row.name);
    for (const bool on : row.on) fmt::print("{:>6}", on ? "yes" : "-");
    fmt::print("\n");
  }
}

void run(Common& common) {
  const std::vector<Target> usable = available_targets();
  const std::vector<Row> rows = operator_table(usable);
  if (common.json)
    print_json(usable, rows);
  else
    print_text(usable, rows);
}

}  // namespace

void add_targets(CLI::App& app, Common& common) {
  add_subcommand(app, "targets", "Show the devices and their operators",
                 [&common] { run(common); });
}

}  // namespace diffscm::apps
