#include "causal/mechanism.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "diffscm.mechanism.v1";

std::string where(const Node& node) {
  return (node.line > 0 ? fmt::format("line {}: ", node.line) : "") + "node " +
         io::show(node.name());
}

const MechanismKind& kind_of(const Role& role) {
  const std::string& name = role.node.mechanism.name;
  std::vector<std::string> names;
  for (const MechanismKind& kind : mechanism_kinds()) {
    if (name == kind.name) return kind;
    names.push_back(kind.name);
  }
  require(!name.empty(),
          "{} has no mechanism: fit the graph (scm fit), or give mechanism = \"NAME\", one of {}",
          where(role.node), fmt::join(names, ", "));
  fail("{} has the unknown mechanism {}: give {}", where(role.node), io::show(name),
       fmt::join(names, ", "));
}

// What must agree between a file and the graph that reads it.
json identity(const Role& role) {
  json parents = json::array();
  for (const Node& parent : role.parents)
    parents.push_back({{"name", parent.name()},
                       {"kind", name_of(parent.kind)},
                       {"states", parent.attribute.states}});
  return {{"name", role.node.name()},
          {"kind", name_of(role.node.kind)},
          {"states", role.node.attribute.states},
          {"mechanism", role.node.mechanism.name},
          {"parents", parents}};
}

}  // namespace

Role role_of(const Graph& graph, size_t node) {
  Role role{graph[node], {}};
  for (const size_t parent : graph.parents(node)) {
    role.parents.push_back(graph[parent]);
    role.parents.back().mechanism = {};  // no business of the child's, and it may be large
  }
  return role;
}

std::vector<double> Mechanism::log_density(const Values&, Parents) const {
  fail("a mechanism of the kind {} has no density", description());
}

void Mechanism::configure(const json& parameters) {
  for (const auto& [key, value] : parameters.items())
    fail("{} cannot be changed: {}", io::show(key), description());
}

std::unique_ptr<Mechanism> make_mechanism(const Role& role) {
  const MechanismKind& kind = kind_of(role);
  try {
    return kind.make(role);
  } catch (const Error& e) {
    fail("{}, mechanism {}: {}", where(role.node), kind.name, e.what());
  }
}

void write_mechanism(const std::filesystem::path& path, const Role& role,
                     const Mechanism& mechanism) {
  MechanismState state = mechanism.state();
  io::write_safetensors(path, {std::move(state.tensors),
                               {{"format", kFormat},
                                {"node", identity(role).dump()},
                                {"parameters", role.node.mechanism.parameters.dump()},
                                {"values", state.values.dump()}}});
}

std::unique_ptr<Mechanism> read_mechanism(const std::filesystem::path& path, const Role& role) {
  io::Safetensors file = io::read_safetensors(path);
  const auto entry = [&](const char* key) {
    const auto parsed = json::parse(file.metadata[key], nullptr, /*allow_exceptions=*/false);
    require(!parsed.is_discarded(), "{} is not a mechanism's file: its {} is not JSON",
            io::show(path), key);
    return parsed;
  };
  require(file.metadata["format"] == kFormat, "{} is not a mechanism's file", io::show(path));
  require(entry("node") == identity(role),
          "{} was made for another node than {}: fit the graph again", io::show(path),
          where(role.node));
  require(entry("parameters") == role.node.mechanism.parameters,
          "{} was fitted with other parameters than the graph gives {}: fit the graph again",
          io::show(path), where(role.node));
  auto mechanism = make_mechanism(role);
  try {
    mechanism->load({std::move(file.tensors), entry("values")});
  } catch (const Error& e) {
    fail("{}: {}", io::show(path), e.what());
  } catch (const json::exception&) {
    fail("{} has values that are not understood", io::show(path));
  }
  return mechanism;
}

}  // namespace diffscm::causal
