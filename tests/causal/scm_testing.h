// Small causal models for tests.
#pragma once

#include <gtest/gtest.h>

#include "causal/mechanism.h"
#include "causal/scm.h"
#include "tests/engine/io_testing.h"

namespace diffscm::causal {

using testing::expect_error;

inline Node number(std::string name, std::vector<std::string> parents = {}) {
  return {.attribute = {.name = name}, .parents = std::move(parents), .column = name};
}

inline Node category(std::string name, std::vector<std::string> states,
                     std::vector<std::string> parents, nlohmann::json rows) {
  const NodeKind kind = states.size() == 2 ? NodeKind::binary : NodeKind::categorical;
  return {.attribute = {.name = name, .states = std::move(states)},
          .kind = kind,
          .parents = std::move(parents),
          .column = name,
          .mechanism = {"table", {{"rows", std::move(rows)}}}};
}

inline Node binary(std::string name, std::vector<std::string> parents, nlohmann::json rows) {
  return category(std::move(name), {"no", "yes"}, std::move(parents), std::move(rows));
}

inline std::vector<std::string> names(const Graph& graph, std::span<const size_t> of) {
  std::vector<std::string> all;
  for (const size_t i : of) all.push_back(graph[i].name());
  return all;
}

}  // namespace diffscm::causal
