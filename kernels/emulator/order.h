// The order in which threads and blocks run. A correct kernel gives the same results in all of
// them; which one is used is an environment variable, DIFFSCM_EMU_ORDER = forward (the default),
// reverse or random:SEED.
#pragma once

#include <cstdint>
#include <string_view>

namespace diffscm::kernels::emulator {

struct Order {
  enum class Kind { forward, reverse, random };

  Kind kind = Kind::forward;
  uint64_t seed = 0, drawn = 0;

  // Throws Error unless `text` is one of the three.
  static Order parse(std::string_view text);

  // A number below n: the next of a sequence that the seed decides.
  uint64_t draw(uint64_t n);
  // The same order, with a sequence of its own for block number `block`.
  Order for_block(uint64_t block) const;
  // Which of n things comes at position i: a permutation.
  uint64_t at(uint64_t i, uint64_t n) const;
};

// What DIFFSCM_EMU_ORDER says, unless set_order() has been called.
Order order();
void set_order(Order order);

}  // namespace diffscm::kernels::emulator
