#include "kernels/emulator/order.h"

#include <charconv>
#include <cstdlib>
#include <numeric>

#include "kernels/error.h"

namespace diffscm::kernels::emulator {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

Order& current() {
  static Order value = [] {
    const char* text = std::getenv("DIFFSCM_EMU_ORDER");
    return text == nullptr ? Order{} : Order::parse(text);
  }();
  return value;
}

}  // namespace

Order Order::parse(std::string_view text) {
  constexpr std::string_view kRandom = "random:";
  if (text == "forward") return {};
  if (text == "reverse") return {.kind = Kind::reverse};
  if (text.starts_with(kRandom)) {
    const std::string_view digits = text.substr(kRandom.size());
    uint64_t seed = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seed);
    if (error == std::errc() && end == digits.data() + digits.size() && !digits.empty())
      return {.kind = Kind::random, .seed = mix(seed)};
  }
  fail("DIFFSCM_EMU_ORDER is '{}': give forward, reverse or random:SEED (a number)", text);
}

uint64_t Order::draw(uint64_t n) {
  return mix(seed + ++drawn) % n;
}

Order Order::for_block(uint64_t block) const {
  return {.kind = kind, .seed = mix(seed ^ mix(block))};
}

uint64_t Order::at(uint64_t i, uint64_t n) const {
  if (kind == Kind::forward) return i;
  if (kind == Kind::reverse) return n - 1 - i;
  // i -> a i + b (mod n) with a coprime to n.
  uint64_t a = mix(seed) % n;
  while (std::gcd(a, n) != 1) ++a;
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(a) * i + mix(~seed) % n) % n);
}

Order order() {
  return current();
}
void set_order(Order order) {
  current() = order;
}

}  // namespace diffscm::kernels::emulator
