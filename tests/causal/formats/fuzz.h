// One entry per reader that takes text from strangers: what it may do with any text is succeed, or
// throw Error with one line.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "causal/expression.h"
#include "causal/formats/bif.h"
#include "causal/formats/dot.h"
#include "causal/formats/graph_file.h"
#include "causal/scm.h"
#include "data/table.h"
#include "kernels/error.h"

namespace diffscm::testing {

struct FuzzTarget {
  const char* name;
  void (*run)(std::string_view text);
};

// What was read is used too: tables and mechanisms are made, and it is written again.
inline void use(const causal::Graph& graph) {
  causal::parse_toml_graph(causal::to_toml(graph), "again");
  causal::to_dot(graph);
  try {
    const causal::StructuralCausalModel model(graph);
    causal::to_bif(graph);
  } catch (const Error&) {
  }
}

inline constexpr std::array kFuzzTargets = {
    FuzzTarget{"toml", [](std::string_view t) { use(causal::parse_toml_graph(t, "t")); }},
    FuzzTarget{"bif", [](std::string_view t) { use(causal::parse_bif(t, "t").graph); }},
    FuzzTarget{"dot", [](std::string_view t) { use(causal::parse_dot(t, "t").graph); }},
    FuzzTarget{"csv",
               [](std::string_view t) {
                 const std::array columns = {data::Attribute{.name = "a"},
                                             data::Attribute{.name = "b", .states = {"x", "y"}}};
                 data::to_csv(data::to_table(data::parse_csv(t, "t"), columns, "t"));
               }},
    FuzzTarget{"expression",
               [](std::string_view t) {
                 const causal::Expression e(std::string(t), {"x", "y"});
                 const std::array values = {0.5, -2.0};
                 e(values);
               }},
};

inline const FuzzTarget& fuzz_target(std::string_view name) {
  return *std::ranges::find(kFuzzTargets, name, &FuzzTarget::name);
}

// True when it succeeded. An Error must be one line; anything else that is thrown passes through.
inline bool survives(const FuzzTarget& target, std::string_view text) {
  try {
    target.run(text);
    return true;
  } catch (const Error& e) {
    if (std::string_view(e.what()).find('\n') != std::string_view::npos)
      throw std::logic_error(std::string("an Error of several lines: ") + e.what());
    return false;
  }
}

}  // namespace diffscm::testing
