// ld, st and prefetch (PTX ISA 9.7.9.8, 9.7.9.12, 9.7.9.15): scalars and vectors of 2 and 4, in
// every state space. Where lanes store to the same address, the last lane's value stays.
#include <algorithm>
#include <cstring>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

enum class In { global, shared, local, param };

// Where each active lane's value lies. Checked: a lane that is not active has address 0.
struct Places {
  std::byte* at[kLanes];
};

template <uint32_t bytes>
DIFFSCM_LANES_INLINE void global_places(Warp& w, const Instruction& i, Slot base, Places& places) {
  const auto* register_ = w.at<uint64_t>(base);
  const uint32_t active = w.active;
  alignas(64) uint64_t address[kLanes];
  uint64_t low = ~uint64_t{0}, high = 0, bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t a = register_[l] + uint64_t(i.immediate);
    const bool on = active >> l & 1;
    low = std::min(low, on ? a : ~uint64_t{0});
    high = std::max(high, on ? a : 0);
    bits |= on ? a : 0;
    address[l] = on ? a : 0;
  }
  w.block->check_global(w, address, low, high, bits, bytes);
  std::memcpy(places.at, address, sizeof(address));
}

template <uint32_t bytes>
DIFFSCM_LANES_INLINE void shared_places(Warp& w, const Instruction& i, Slot base, Places& places) {
  const auto* register_ = w.at<uint32_t>(base);
  const uint32_t active = w.active;
  alignas(64) uint32_t address[kLanes];
  uint32_t high = 0, bits = 0;
  for (int l = 0; l < kLanes; ++l) {
    const bool on = active >> l & 1;
    address[l] = on ? register_[l] + uint32_t(i.immediate) : 0;
    high = std::max(high, address[l]);
    bits |= address[l];
  }
  w.block->check_shared(w, address, high, bits, bytes);
  std::byte* const shared = w.block->shared();
  for (int l = 0; l < kLanes; ++l) places.at[l] = shared + address[l];
}

template <In in, uint32_t bytes>
DIFFSCM_LANES_INLINE void find_places(Warp& w, const Instruction& i, Slot base, Places& places) {
  if constexpr (in == In::global) {
    global_places<bytes>(w, i, base, places);
  } else if constexpr (in == In::shared) {
    shared_places<bytes>(w, i, base, places);
  } else {
    const auto* register_ = w.at<uint64_t>(base);
    each_lane(w.active, [&](int l) {
      const uint64_t a = register_[l] + uint64_t(i.immediate);
      places.at[l] =
          in == In::local ? w.block->local(w, l, a, bytes) : w.block->param(w, l, a, bytes);
    });
  }
}

template <class W, int n>
struct Values {
  W* of[n];
};
template <class W, int n>
DIFFSCM_LANES_INLINE Values<W, n> values(const Warp& w, const Instruction& i, Slot one) {
  Values<W, n> v;
  if constexpr (n == 1)
    v.of[0] = w.at<W>(one);
  else
    for (int k = 0; k < n; ++k) v.of[k] = w.at<W>(w.vector(i)[k]);
  return v;
}

// n values of type T from memory into registers of type D.
template <In in, class T, class D, int n>
struct Load {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    Places places;
    find_places<in, sizeof(T) * n>(w, i, i.operand[n == 1 ? 1 : 0], places);
    const auto d = values<Word<D>, n>(w, i, i.operand[0]);
    const auto load = [&](int l) {
      T v[n];
      std::memcpy(v, places.at[l], sizeof(v));
      for (int k = 0; k < n; ++k) d.of[k][l] = word<D>(D(v[k]));
    };
    if (w.active == kAllLanes)
      for (int l = 0; l < kLanes; ++l) load(l);
    else
      each_lane(w.active, load);
  }
};

template <In in, class T, int n>
struct Store {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    Places places;
    find_places<in, sizeof(T) * n>(w, i, i.operand[0], places);
    const auto a = values<Word<T>, n>(w, i, i.operand[1]);
    const auto store = [&](int l) {
      T v[n];
      for (int k = 0; k < n; ++k) v[k] = T(a.of[k][l]);
      std::memcpy(places.at[l], v, sizeof(v));
    };
    if (w.active == kAllLanes)
      for (int l = 0; l < kLanes; ++l) store(l);
    else
      each_lane(w.active, store);
  }
};

// "4" or, for a vector, "v2x4".
std::string registers(int n, size_t bytes) {
  return n == 1 ? fmt::format("{}", bytes) : fmt::format("v{}x{}", n, bytes);
}

template <In in, class T, class D, int n>
void add_load(Forms& f, const std::string& opcode, InstructionClass kind) {
  const std::string operands =
      fmt::format("{} = {}", registers(n, sizeof(D)), in == In::shared ? 's' : 'a');
  f.add(opcode, {Cloned<Load<in, T, D, n>::leaf>::chosen(), kind, operands});
}

// T, extended as its sign says to `bytes`.
template <class T, size_t bytes>
using Extended = std::conditional_t<
    std::is_signed_v<T>,
    std::conditional_t<bytes == 8, int64_t, std::conditional_t<bytes == 4, int32_t, int16_t>>,
    std::conditional_t<bytes == 8, uint64_t, std::conditional_t<bytes == 4, uint32_t, uint16_t>>>;

template <In in, class T, int n>
void add_width(Forms& f, const std::string& space, const std::string& type, InstructionClass load,
               InstructionClass store) {
  constexpr size_t own = std::max<size_t>(sizeof(T), 2);
  const std::string end = n == 1 ? fmt::format(".{}", type) : fmt::format(".v{}.{}", n, type);
  const std::string opcode = fmt::format("ld{}{}", space, end);
  add_load<in, T, Extended<T, own>, n>(f, opcode, load);
  if constexpr (n == 1 && own < 4) add_load<in, T, Extended<T, 4>, n>(f, opcode, load);
  if constexpr (n == 1 && own < 8) add_load<in, T, Extended<T, 8>, n>(f, opcode, load);
  if constexpr (in == In::global)
    add_load<in, T, Extended<T, own>, n>(f, fmt::format("ld{}.nc{}", space, end), load);
  if constexpr (in != In::param) {
    const std::string operands =
        fmt::format("= {} {}", in == In::shared ? 's' : 'a', registers(n, own));
    f.add(fmt::format("st{}{}", space, end),
          {Cloned<Store<in, std::make_unsigned_t<T>, n>::leaf>::chosen(), store, operands});
  }
}

template <In in, class T>
void add_type(Forms& f, const std::string& space, std::initializer_list<const char*> types,
              InstructionClass load, InstructionClass store) {
  for (const char* type : types) {
    add_width<in, T, 1>(f, space, type, load, store);
    add_width<in, T, 2>(f, space, type, load, store);
    if constexpr (sizeof(T) < 8) add_width<in, T, 4>(f, space, type, load, store);
  }
}

template <In in>
void add_space(Forms& f, const std::string& space, InstructionClass load, InstructionClass store) {
  add_type<in, uint8_t>(f, space, {"u8", "b8"}, load, store);
  add_type<in, int8_t>(f, space, {"s8"}, load, store);
  add_type<in, uint16_t>(f, space, {"u16", "b16"}, load, store);
  add_type<in, int16_t>(f, space, {"s16"}, load, store);
  add_type<in, uint32_t>(f, space, {"u32", "b32", "f32"}, load, store);
  add_type<in, int32_t>(f, space, {"s32"}, load, store);
  add_type<in, uint64_t>(f, space, {"u64", "b64", "s64", "f64"}, load, store);
}

// A hint, whose address must be good none the less.
void prefetch(Warp& w, const Instruction& i) {
  Places places;
  global_places<1>(w, i, i.operand[0], places);
}

}  // namespace

void add_memory_forms(Forms& f) {
  using enum InstructionClass;
  f.add("prefetch.global.L2", {prefetch, load_global, "= a"});
  add_space<In::global>(f, ".global", load_global, store_global);
  add_space<In::global>(f, "", load_global, store_global);  // generic: a host address, as global
  add_space<In::global>(f, ".const", param, param);
  add_space<In::shared>(f, ".shared", load_shared, store_shared);
  add_space<In::local>(f, ".local", InstructionClass::local, InstructionClass::local);
  add_space<In::param>(f, ".param", param, param);
}

}  // namespace diffscm::softgpu
