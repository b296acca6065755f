#include "kernels/softgpu/ptx/allocate.h"

#include <algorithm>
#include <queue>

namespace diffscm::softgpu::ptx {
namespace {

class Set {
 public:
  explicit Set(size_t n) : words_((n + 63) / 64) {}
  void add(uint32_t i) { words_[i / 64] |= uint64_t{1} << i % 64; }
  bool has(uint32_t i) const { return words_[i / 64] >> i % 64 & 1; }
  // this |= in & ~without; whether that added anything.
  bool add_all(const Set& in, const Set* without) {
    uint64_t added = 0;
    for (size_t k = 0; k < words_.size(); ++k) {
      const uint64_t more =
          (without ? in.words_[k] & ~without->words_[k] : in.words_[k]) & ~words_[k];
      words_[k] |= more;
      added |= more;
    }
    return added != 0;
  }
  template <class F>
  void each(F f) const {
    for (size_t k = 0; k < words_.size(); ++k)
      for (uint64_t w = words_[k]; w != 0; w &= w - 1)
        f(static_cast<uint32_t>(64 * k + __builtin_ctzll(w)));
  }

 private:
  std::vector<uint64_t> words_;
};

struct Interval {
  uint32_t first = kNone, last = 0;  // statements
  void cover(uint32_t s) {
    first = std::min(first == kNone ? s : first, s), last = std::max(last, s);
  }
};

// From where to where each register is live: what is live at the edges of blocks, by the usual
// backward iteration, and where it occurs within them. A guarded write keeps the old value in some
// lanes, so it does not end what was before.
std::vector<Interval> live_intervals(const Function& f, const Flow& flow,
                                     const std::vector<Access>& accesses) {
  const size_t registers = f.registers.size(), blocks = flow.blocks.size();
  std::vector<Set> in(blocks, Set(registers)), written(blocks, Set(registers)),
      out(blocks, Set(registers));
  for (size_t b = 0; b < blocks; ++b)
    for (uint32_t s = flow.blocks[b].first; s <= flow.blocks[b].last; ++s) {
      for (const uint32_t r : accesses[s].reads)
        if (!written[b].has(r)) in[b].add(r);
      for (const uint32_t r : accesses[s].writes) {
        if (f.statements[s].guard >= 0 && !written[b].has(r)) in[b].add(r);
        if (f.statements[s].guard < 0) written[b].add(r);
      }
    }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t b = blocks; b-- > 0;) {
      bool grown = false;
      for (const uint32_t s : flow.blocks[b].successors) grown |= out[b].add_all(in[s], nullptr);
      if (grown) changed |= in[b].add_all(out[b], &written[b]);
    }
  }
  std::vector<Interval> live(registers);
  for (size_t b = 0; b < blocks; ++b) {
    in[b].each([&](uint32_t r) { live[r].cover(flow.blocks[b].first); });
    out[b].each([&](uint32_t r) { live[r].cover(flow.blocks[b].last + 1); });
    for (uint32_t s = flow.blocks[b].first; s <= flow.blocks[b].last; ++s) {
      for (const uint32_t r : accesses[s].reads) live[r].cover(s);
      for (const uint32_t r : accesses[s].writes) live[r].cover(s);
    }
  }
  return live;
}

// Linear scan. A place is free again in the statement of its last use: instructions read all their
// operands of a lane before they write.
uint32_t share(const std::vector<Interval>& live, std::vector<uint32_t> registers,
               std::vector<uint32_t>& place) {
  std::sort(registers.begin(), registers.end(),
            [&](uint32_t a, uint32_t b) { return live[a].first < live[b].first; });
  using Use = std::pair<uint32_t, uint32_t>;  // last statement, place
  std::priority_queue<Use, std::vector<Use>, std::greater<>> used;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> free;
  uint32_t places = 0;
  for (const uint32_t r : registers) {
    // A value that is never read still must not go where one that is lives on.
    for (; !used.empty() && used.top().first <= live[r].first; used.pop())
      free.push(used.top().second);
    if (free.empty()) free.push(places++);
    place[r] = free.top();
    free.pop();
    used.emplace(std::max(live[r].last, live[r].first + 1), place[r]);
  }
  return places;
}

}  // namespace

Allocation allocate_registers(const Function& f, const Flow& flow,
                              const std::vector<Access>& accesses) {
  const std::vector<Interval> live = live_intervals(f, flow, accesses);
  Allocation a;
  a.place.assign(f.registers.size(), 0);
  const auto of = [&](auto kind) {
    std::vector<uint32_t> some;
    for (uint32_t r = 0; r < f.registers.size(); ++r)
      if (live[r].first != kNone && kind(f.registers[r].bytes)) some.push_back(r);
    return some;
  };
  a.predicates = share(live, of([](uint32_t bytes) { return bytes == 0; }), a.place);
  a.words = share(live, of([](uint32_t bytes) { return bytes == 2 || bytes == 4; }), a.place);
  a.doubles = share(live, of([](uint32_t bytes) { return bytes == 8; }), a.place);
  return a;
}

}  // namespace diffscm::softgpu::ptx
