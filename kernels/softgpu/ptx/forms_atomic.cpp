// atom and red (PTX ISA 9.7.13.5): read, combine, write, one lane after the other. In global memory
// other blocks may run at the same time: there a compare-and-swap loop makes it one step.
#include <algorithm>
#include <cstring>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr auto kAdd = [](auto a, auto b, auto) { return decltype(a)(a + b); };
constexpr auto kMin = [](auto a, auto b, auto) { return std::min(a, b); };
constexpr auto kMax = [](auto a, auto b, auto) { return std::max(a, b); };
constexpr auto kAnd = [](auto a, auto b, auto) { return a & b; };
constexpr auto kOr = [](auto a, auto b, auto) { return a | b; };
constexpr auto kXor = [](auto a, auto b, auto) { return a ^ b; };
constexpr auto kExchange = [](auto, auto b, auto) { return b; };
constexpr auto kCompareAndSwap = [](auto a, auto b, auto c) { return a == b ? c : a; };

template <class T, auto op>
T update(std::byte* at, T b, T c) {
  auto* place = reinterpret_cast<Word<T>*>(at);
  Word<T> old = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(place, &old, word<T>(op(value<T>(old), b, c)), true,
                                      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return value<T>(old);
}

// Operands: the result (atom), the address, b and, for compare-and-swap, c.
template <class T, auto op, bool shared, bool returns, int sources>
void atomic(Warp& w, const Instruction& i) {
  const Slot base = i.operand[returns];
  const auto* b = w.at<Word<T>>(i.operand[returns + 1]);
  const auto* c = w.at<Word<T>>(i.operand[returns + sources]);
  std::byte* place[kLanes] = {};
  using Address = std::conditional_t<shared, uint32_t, uint64_t>;
  Address address[kLanes] = {}, low = ~Address{0}, high = 0, bits = 0;
  each_lane(w.active, [&](int l) {
    address[l] = w.at<Address>(base)[l] + Address(i.immediate);
    low = std::min(low, address[l]), high = std::max(high, address[l]), bits |= address[l];
  });
  if constexpr (shared)
    w.block->check_shared(w, address, high, bits, sizeof(T));
  else
    w.block->check_global(w, address, low, high, bits, sizeof(T));
  each_lane(w.active, [&](int l) {
    place[l] = shared ? w.block->shared() + address[l] : reinterpret_cast<std::byte*>(address[l]);
    const T old = update<T, op>(place[l], value<T>(b[l]), value<T>(c[l]));
    if (returns) w.at<Word<T>>(i.operand[0])[l] = word<T>(old);
  });
}

template <class T, auto op, int sources = 1>
void add_operation(Forms& f, const std::string& operation, const std::string& type) {
  const auto kind = InstructionClass::atomic;
  const std::string n = std::to_string(sizeof(T)), b = sources == 1 ? " " + n : " " + n + " " + n;
  const std::string end = "." + operation + "." + type;
  for (const std::string space : {".global", ""}) {
    f.add("atom" + space + end, {atomic<T, op, false, true, sources>, kind, n + " = a" + b});
    f.add("red" + space + end, {atomic<T, op, false, false, sources>, kind, "= a" + b});
  }
  f.add("atom.shared" + end, {atomic<T, op, true, true, sources>, kind, n + " = s" + b});
  f.add("red.shared" + end, {atomic<T, op, true, false, sources>, kind, "= s" + b});
}

template <class T>
void add_integer(Forms& f, const std::string& type) {
  add_operation<T, kAdd>(f, "add", type);
  add_operation<T, kMin>(f, "min", type);
  add_operation<T, kMax>(f, "max", type);
}

template <class T>
void add_bits(Forms& f, const std::string& type) {
  add_operation<T, kAnd>(f, "and", type);
  add_operation<T, kOr>(f, "or", type);
  add_operation<T, kXor>(f, "xor", type);
  add_operation<T, kExchange>(f, "exch", type);
  add_operation<T, kCompareAndSwap, 2>(f, "cas", type);
}

}  // namespace

void add_atomic_forms(Forms& f) {
  add_integer<uint32_t>(f, "u32");
  add_integer<int32_t>(f, "s32");
  add_integer<uint64_t>(f, "u64");
  add_bits<uint32_t>(f, "b32");
  add_bits<uint64_t>(f, "b64");
  add_operation<float, kAdd>(f, "add", "f32");
  add_operation<double, kAdd>(f, "add", "f64");
}

}  // namespace diffscm::softgpu
