// Vectors of kLanes floats for the leaves. Included inside a namespace that defines kLanes.
//
// No include guard and no includes: see conv2d_leaves.h.

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

[[gnu::always_inline]] inline Vec load(const float* p) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}
[[gnu::always_inline]] inline void store(float* p, Vec v) {
  *reinterpret_cast<UnalignedVec*>(p) = v;
}
// x - 0 is x for every x, -0 and NaN included, so this compiles to one broadcast.
[[gnu::always_inline]] inline Vec broadcast(float x) {
  return x - Vec{};
}

// The first `count` < kLanes lanes only: what lies beyond is neither read nor written.
[[gnu::always_inline]] inline Vec load_part(const float* p, int64_t count) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, count * sizeof(float));
  return load(lanes);
}
[[gnu::always_inline]] inline void store_part(float* p, Vec v, int64_t count) {
  float lanes[kLanes];
  store(lanes, v);
  std::memcpy(p, lanes, count * sizeof(float));
}

// Calls body(i) for i = 0 .. N-1 with i a compile-time constant. gcc 12 keeps an array of vectors
// in registers only if every index into it is constant before its loop passes run.
template <int N, class F>
[[gnu::always_inline]] inline void unrolled(F&& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (body(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}
