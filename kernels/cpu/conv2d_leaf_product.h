// The register-tiled product that all convolutions are made of. Included inside a namespace that
// defines kLanes and kRegisters.
//
// A tile holds M rows x V vectors of `out` in registers for the whole sum. One step loads V vectors
// of b, broadcasts M floats of a, and issues M*V fused multiply-adds: 14x2 with AVX-512 (28 of 32
// registers, b and the broadcast need 3 more), so that 16 loads feed 28 of them and the two
// multiply-add ports never wait for the two load ports; 6x2 with 16 registers. Wide and low tiles
// (6x4) would read b at twice the rate. Rows are split evenly: 28 pixels become 2 x 14, and 16
// become 8 + 8 rather than 14 + 2.

template <int V>
inline constexpr int kRowsMax = kRegisters == 32 ? 14
                                : V == 2         ? 6
                                                 : 8;

// kRowsAdjacent: a_row is 1 (weight gradients), otherwise a_step is 1.
template <bool kRowsAdjacent, int M, int V>
void tile(const Product& p, int64_t row, int64_t column) {
  Vec sum[M][V];
  unrolled<M>([&](auto i) { unrolled<V>([&](auto v) { sum[i][v] = Vec{}; }); });

  static_assert(kLanes <= kLanesMax && (V * kLanes <= kLanesMax || kLanes == kLanesMax));
  const int64_t b_vector = kLanes == kLanesMax ? p.b_panel : kLanes;
  const int64_t a_step = kRowsAdjacent ? p.a_step : 1;
  const float* b = p.b + column / kLanesMax * p.b_panel + column % kLanesMax;
  const auto add = [&](const float* a, int64_t a_row, int64_t length)
      __attribute__((always_inline)) {
    const float* a_half = a + (M / 2) * a_row;  // a second base: x86 addresses reach few multiples
    for (int64_t l = 0; l < length; ++l, a += a_step, a_half += a_step, b += p.b_row) {
      Vec bv[V];
      unrolled<V>([&](auto v) { bv[v] = load(b + v * b_vector); });
      unrolled<M>([&](auto i) {
        const Vec av = broadcast(i < M / 2 ? a[i * a_row] : a_half[(i - M / 2) * a_row]);
        unrolled<V>([&](auto v) { sum[i][v] += av * bv[v]; });
      });
    }
  };
  const int64_t a_row = kRowsAdjacent ? 1 : p.a_row;
  for (int64_t t = 0; t < p.taps; ++t) add(p.a + t * p.a_tap + row * a_row, a_row, p.length);
  if constexpr (!kRowsAdjacent)
    if (p.more.length > 0) add(p.more.a + row * p.more.a_row, p.more.a_row, p.more.length);

  float* out = p.out + row * p.out_row + column;
  const float* residual = p.residual ? p.residual + row * p.out_row + column : nullptr;
  const int64_t columns = p.columns - column;
  unrolled<V>([&](auto v) {
    constexpr int64_t kFirst = v * kLanes;
    const int64_t count = columns - kFirst;
    if (count >= kLanes) {
      const Vec bias = p.bias ? load(p.bias + column + kFirst) : Vec{};
      unrolled<M>([&](auto i) {
        Vec y = sum[i][v] + bias;
        if (residual) y += load(residual + i * p.out_row + kFirst);
        store(out + i * p.out_row + kFirst, y);
      });
    } else if (count > 0) {
      const Vec bias = p.bias ? load_part(p.bias + column + kFirst, count) : Vec{};
      unrolled<M>([&](auto i) {
        Vec y = sum[i][v] + bias;
        if (residual) y += load_part(residual + i * p.out_row + kFirst, count);
        store_part(out + i * p.out_row + kFirst, y, count);
      });
    }
  });
}

// Rows of pixels are too many short streams for the hardware to prefetch: fetch the next tile's.
inline void prefetch_rows(const Product& p, int64_t row, int64_t rows) {
  for (int64_t i = row; i < std::min(row + rows, p.rows); ++i)
    for (int64_t l = 0; l < p.length; l += 16) __builtin_prefetch(p.a + i * p.a_row + l);
  for (int64_t i = row; i < std::min(row + rows, p.rows); ++i)
    for (int64_t l = 0; l < p.more.length; l += 16)
      __builtin_prefetch(p.more.a + i * p.more.a_row + l);
}

// All rows of a panel of V vectors.
template <bool kRowsAdjacent, int V>
void panel(const Product& p, int64_t column) {
  using Tile = void (*)(const Product&, int64_t, int64_t);
  static constexpr auto kTiles = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<Tile, sizeof...(I)>{tile<kRowsAdjacent, I + 1, V>...};
  }
  (std::make_integer_sequence<int, kRowsMax<V>>{});
  const int64_t blocks = (p.rows + kRowsMax<V> - 1) / kRowsMax<V>;
  for (int64_t block = 0, row = 0; block < blocks; ++block) {
    const int64_t next = p.rows * (block + 1) / blocks;
    if (!kRowsAdjacent && column == 0 && block + 1 < blocks) prefetch_rows(p, next, kRowsMax<V>);
    kTiles[next - row - 1](p, row, column);
    row = next;
  }
}

template <bool kRowsAdjacent>
void all_panels(const Product& p) {
  int64_t column = 0;
  for (; p.columns - column > kLanes; column += 2 * kLanes) panel<kRowsAdjacent, 2>(p, column);
  if (column < p.columns) panel<kRowsAdjacent, 1>(p, column);
}

void product(const Product& p) {
  if (p.a_row == 1 && p.a_step != 1)
    all_panels<true>(p);
  else
    all_panels<false>(p);
}

// One dot product per (row, column), two accumulators to hide the latency of the multiply-add.
void dots(const Dots& p) {
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; j < p.columns; ++j) {
      Vec even{}, odd{};
      const float* b = p.b + j * p.b_row;
      for (int64_t t = 0; t < p.taps; ++t, b += p.length) {
        const float* a = p.a + t * p.a_tap + i * p.a_row;
        int64_t l = 0;
        for (; l + 2 * kLanes <= p.length; l += 2 * kLanes) {
          even += load(a + l) * load(b + l);
          odd += load(a + l + kLanes) * load(b + l + kLanes);
        }
        if (l + kLanes <= p.length) {
          even += load(a + l) * load(b + l);
          l += kLanes;
        }
        if (l < p.length) odd += load_part(a + l, p.length - l) * load_part(b + l, p.length - l);
      }
      float lanes[kLanes];
      store(lanes, even + odd);
      for (int half = kLanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
      float y = lanes[0];
      if (p.bias) y += p.bias[j];
      if (p.residual) y += p.residual[i * p.out_row + j];
      p.out[i * p.out_row + j] = y;
    }
}
