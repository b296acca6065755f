// Arithmetic for 32 lanes at once. A form is written for one lane, as a small function:
//
//   constexpr auto kAdd = [](auto a, auto b) { return a + b; };
//   forms.add("add.f32", {lanewise<kAdd, float, float, float>(), ..., "4 = 4 4"});
//
// lanewise makes the loop over the lanes from it, which the compiler turns into vector
// instructions, and compiles that loop for several instruction sets.
#pragma once

#include <bit>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/softgpu/warp.h"

#define DIFFSCM_LANES_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DIFFSCM_LANES_V3 __attribute__((target("arch=x86-64-v3")))
#define DIFFSCM_LANES_V4 __attribute__((target("arch=x86-64-v4")))
#define DIFFSCM_LANES_HAVE(isa) __builtin_cpu_supports(isa)
#else
#define DIFFSCM_LANES_V3
#define DIFFSCM_LANES_V4
#define DIFFSCM_LANES_HAVE(isa) false
#endif

namespace diffscm::softgpu {

// What a register holds of a value of type T in each lane.
template <class T>
using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
DIFFSCM_LANES_INLINE T value(Word<T> word) {
  if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<T>(word);
  else
    return static_cast<T>(word);
}

template <class T>
DIFFSCM_LANES_INLINE Word<T> word(T value) {
  if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<Word<T>>(value);
  else
    return static_cast<std::make_unsigned_t<T>>(value);
}

// `leaf` compiled for three instruction sets; the one that this processor has is taken.
template <auto leaf>
struct Cloned {
  static void v1(Warp& w, const Instruction& i) { leaf(w, i); }
  DIFFSCM_LANES_V3 static void v3(Warp& w, const Instruction& i) { leaf(w, i); }
  DIFFSCM_LANES_V4 static void v4(Warp& w, const Instruction& i) { leaf(w, i); }

  static Handler chosen() {
    if (DIFFSCM_LANES_HAVE("avx512vl") && DIFFSCM_LANES_HAVE("avx512dq") &&
        DIFFSCM_LANES_HAVE("avx512bw"))
      return v4;
    return DIFFSCM_LANES_HAVE("avx2") && DIFFSCM_LANES_HAVE("fma") ? v3 : v1;
  }
};

// d = op(a...) in every active lane. A destination may be one of the sources: registers are the
// same or apart, never shifted against each other.
template <auto op, class D, class... A>
struct Lanewise {
  template <size_t... k>
  DIFFSCM_LANES_INLINE static void loop(Warp& w, const Instruction& i, std::index_sequence<k...>) {
    auto* d = w.at<Word<D>>(i.operand[0]);
    const std::tuple<const Word<A>*...> a{w.at<Word<A>>(i.operand[k + 1])...};
    const uint32_t active = w.active;
    if (active == kAllLanes) {
#pragma GCC ivdep
      for (int l = 0; l < kLanes; ++l)
        d[l] = word<D>(static_cast<D>(op(value<A>(std::get<k>(a)[l])...)));
    } else {
#pragma GCC ivdep
      for (int l = 0; l < kLanes; ++l) {
        const Word<D> r = word<D>(static_cast<D>(op(value<A>(std::get<k>(a)[l])...)));
        d[l] = active >> l & 1 ? r : d[l];
      }
    }
  }
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    loop(w, i, std::index_sequence_for<A...>{});
  }
};

template <auto op, class D, class... A>
Handler lanewise() {
  return Cloned<Lanewise<op, D, A...>::leaf>::chosen();
}

// p = op(a...) in every active lane, for a predicate p.
template <auto op, class... A>
struct LanewisePredicate {
  template <size_t... k>
  DIFFSCM_LANES_INLINE static void loop(Warp& w, const Instruction& i, std::index_sequence<k...>) {
    const std::tuple<const Word<A>*...> a{w.at<Word<A>>(i.operand[k + 1])...};
    uint32_t holds = 0;
    for (int l = 0; l < kLanes; ++l) holds |= op(value<A>(std::get<k>(a)[l])...) ? 1u << l : 0u;
    uint32_t& p = w.predicate(i.operand[0]);
    p = (p & ~w.active) | (holds & w.active);
  }
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    loop(w, i, std::index_sequence_for<A...>{});
  }
};

template <auto op, class... A>
Handler lanewise_predicate() {
  return Cloned<LanewisePredicate<op, A...>::leaf>::chosen();
}

// The active lanes, one after the other, for what vectors cannot do.
template <class F>
DIFFSCM_LANES_INLINE void each_lane(uint32_t active, F f) {
  for (; active != 0; active &= active - 1) f(std::countr_zero(active));
}

}  // namespace diffscm::softgpu
