#include "kernels/softgpu/ptx/flow.h"

#include <algorithm>
#include <map>

#include "kernels/error.h"

namespace diffscm::softgpu::ptx {
namespace {

void find_targets(const Function& f, Flow& flow) {
  std::map<std::string_view, uint32_t> labels;
  for (const Label& label : f.labels) labels[label.name] = label.statement;
  flow.target.assign(f.statements.size(), kNone);
  flow.convergence = flow.target;
  for (uint32_t s = 0; s < f.statements.size(); ++s) {
    const Statement& statement = f.statements[s];
    if (!is_branch(statement)) continue;
    require(statement.operands.size() == 1, "PTX line {}: {} needs one label", statement.line,
            statement.opcode);
    const auto found = labels.find(statement.operands[0].name);
    require(found != labels.end() && found->second < f.statements.size(),
            "PTX line {}: no label '{}' in {}", statement.line, statement.operands[0].name, f.name);
    flow.target[s] = found->second;
  }
}

void find_blocks(const Function& f, Flow& flow) {
  const auto count = static_cast<uint32_t>(f.statements.size());
  std::vector<bool> leads(count + 1, false);
  leads[0] = true;
  for (uint32_t s = 0; s < count; ++s) {
    if (flow.target[s] != kNone) leads[flow.target[s]] = true;
    if (is_branch(f.statements[s]) || is_end(f.statements[s])) leads[s + 1] = true;
  }
  std::vector<uint32_t> block_of(count);
  for (uint32_t s = 0; s < count; ++s) {
    if (leads[s]) flow.blocks.push_back({s, s, {}});
    flow.blocks.back().last = s;
    block_of[s] = static_cast<uint32_t>(flow.blocks.size()) - 1;
  }
  for (BasicBlock& b : flow.blocks) {
    const Statement& last = f.statements[b.last];
    const bool goes_on = last.guard >= 0 || (!is_branch(last) && !is_end(last));
    require(!goes_on || b.last + 1 < count, "PTX line {}: {} does not end in ret", last.line,
            f.name);
    if (goes_on) b.successors.push_back(block_of[b.last + 1]);
    if (flow.target[b.last] != kNone) b.successors.push_back(block_of[flow.target[b.last]]);
  }
}

// Immediate post-dominators: dominators of the graph turned round, from a common exit (Cooper,
// Harvey and Kennedy, "A simple, fast dominance algorithm").
void find_convergence(const Function& f, Flow& flow) {
  const auto count = static_cast<uint32_t>(flow.blocks.size());
  const uint32_t exit = count;
  std::vector<std::vector<uint32_t>> predecessors(count + 1);
  for (uint32_t b = 0; b < count; ++b) {
    for (const uint32_t s : flow.blocks[b].successors) predecessors[s].push_back(b);
    if (is_end(f.statements[flow.blocks[b].last])) predecessors[exit].push_back(b);
  }
  // Post-order of the turned graph from the exit.
  std::vector<uint32_t> order, rank(count + 1, kNone);
  std::vector<std::pair<uint32_t, size_t>> stack{{exit, 0}};
  std::vector<bool> seen(count + 1, false);
  seen[exit] = true;
  while (!stack.empty()) {
    auto& [b, next] = stack.back();
    if (next < predecessors[b].size()) {
      const uint32_t p = predecessors[b][next++];
      if (!seen[p]) seen[p] = true, stack.emplace_back(p, 0);
    } else {
      rank[b] = static_cast<uint32_t>(order.size());
      order.push_back(b);
      stack.pop_back();
    }
  }
  std::vector<uint32_t> dominator(count + 1, kNone);
  dominator[exit] = exit;
  const auto meet = [&](uint32_t a, uint32_t b) {
    while (a != b) {
      while (rank[a] < rank[b]) a = dominator[a];
      while (rank[b] < rank[a]) b = dominator[b];
    }
    return a;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto b = order.rbegin(); b != order.rend(); ++b) {
      if (*b == exit) continue;
      uint32_t best = kNone;
      const auto consider = [&](uint32_t s) {
        if (dominator[s] != kNone) best = best == kNone ? s : meet(best, s);
      };
      for (const uint32_t s : flow.blocks[*b].successors) consider(s);
      if (is_end(f.statements[flow.blocks[*b].last])) consider(exit);
      if (best != dominator[*b]) dominator[*b] = best, changed = true;
    }
  }
  for (uint32_t b = 0; b < count; ++b) {
    const BasicBlock& block = flow.blocks[b];
    if (flow.target[block.last] == kNone || f.statements[block.last].guard < 0) continue;
    if (dominator[b] != kNone && dominator[b] != exit)
      flow.convergence[block.last] = flow.blocks[dominator[b]].first;
  }
}

}  // namespace

bool is_branch(const Statement& s) {
  return s.opcode == "bra" || s.opcode == "bra.uni";
}

bool is_end(const Statement& s) {
  return s.opcode == "ret" || s.opcode == "exit" || s.opcode == "trap" ||
         s.opcode == "return.function";
}

Flow flow_of(const Function& f) {
  Flow flow;
  require(!f.statements.empty(), "{} has no statements", f.name);
  find_targets(f, flow);
  find_blocks(f, flow);
  find_convergence(f, flow);
  return flow;
}

}  // namespace diffscm::softgpu::ptx
