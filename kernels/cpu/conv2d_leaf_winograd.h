// The transforms of Winograd F(4x4, 3x3), vectorised over channels. Included inside a namespace
// that defines kLanes.
//
// A 4x4 block of outputs of a 3x3 filter is a product of polynomials; evaluated at 6 points per
// axis it takes 36 multiplications per (input, output) channel instead of 144 (Lavin and Gray,
// 2015, "Fast Algorithms for Convolutional Neural Networks"):
//   y = A^T [ (G w G^T) (.) (B^T d B) ] A
// The points are 0, 1, -1, a, -a and infinity, in this order. With M(x) = x (x^2-1) (x^2-a^2):
//   A^T   column of point p is (1, p, p^2, p^3);  infinity: (0, 0, 0, 1)
//   G     row of point p is (1, p, p^2) / N_p, N_p = prod of (p - q);  infinity: (0, 0, 1)
//   B^T   row of point p holds the coefficients of M(x) / (x - p);  infinity: those of M(x)
// Rounding errors depend on a. Of 1/2, 0.6, 5/8, 1/sqrt(2), sqrt(2) and the textbook's 2, those
// near 0.6 have the smallest: half those of 2, at most 1e-5 of the largest output with 256
// channels.
//
// The row of the point -1 in B^T is that of x (x-1) (x^2-a^2), odd about every second pixel: on an
// image enlarged x2, where pixels 1 = 2 and 3 = 4 of each patch, it gives 0. So an enlarged image
// needs 5 x 5 components only (kEnlarged), and the same holds for the sums of 2x2 in its backward.

inline constexpr float kA = kWinogradPoint, kA2 = kA * kA, kA3 = kA * kA * kA;
inline constexpr float kN0 = 1 / kA2, kN1 = 1 / (2 * (1 - kA2)), kNa = 1 / (2 * kA2 * (kA2 - 1));
inline constexpr int kMinusOne = 2;  // index of the point that vanishes on enlarged images

// t = B^T d
[[gnu::always_inline]] inline void input_axis(const Vec (&d)[kPatch], Vec (&t)[kPatch]) {
  const Vec even = d[4] - kA2 * d[2], odd = d[3] - kA2 * d[1];
  const Vec even_a = d[4] - d[2], odd_a = kA * (d[3] - d[1]);
  t[0] = kA2 * (d[0] - d[2]) + even_a;
  t[1] = even + odd;
  t[2] = even - odd;
  t[3] = even_a + odd_a;
  t[4] = even_a - odd_a;
  t[5] = kA2 * (d[1] - d[3]) + (d[5] - d[3]);
}

// y = A^T m
[[gnu::always_inline]] inline void output_axis(const Vec (&m)[kPatch], Vec (&y)[kTile]) {
  const Vec sum_1 = m[1] + m[2], difference_1 = m[1] - m[2];
  const Vec sum_a = m[3] + m[4], difference_a = m[3] - m[4];
  y[0] = m[0] + sum_1 + sum_a;
  y[1] = difference_1 + kA * difference_a;
  y[2] = sum_1 + kA2 * sum_a;
  y[3] = difference_1 + kA3 * difference_a + m[5];
}

// z = A y
[[gnu::always_inline]] inline void gradient_axis(const Vec (&y)[kTile], Vec (&z)[kPatch]) {
  const Vec even = y[0] + y[2], odd = y[1] + y[3];
  const Vec even_a = y[0] + kA2 * y[2], odd_a = kA * y[1] + kA3 * y[3];
  z[0] = y[0];
  z[1] = even + odd;
  z[2] = even - odd;
  z[3] = even_a + odd_a;
  z[4] = even_a - odd_a;
  z[5] = y[3];
}

// g = G w
[[gnu::always_inline]] inline void filter_axis(const Vec (&w)[3], Vec (&g)[kPatch]) {
  const Vec even = kN1 * (w[0] + w[2]), odd = kN1 * w[1];
  const Vec even_a = kNa * (w[0] + kA2 * w[2]), odd_a = (kNa * kA) * w[1];
  g[0] = kN0 * w[0];
  g[1] = even + odd;
  g[2] = even - odd;
  g[3] = even_a + odd_a;
  g[4] = even_a - odd_a;
  g[5] = w[2];
}

// w = G^T g
[[gnu::always_inline]] inline void filter_gradient_axis(const Vec (&g)[kPatch], Vec (&w)[3]) {
  const Vec even = kN1 * (g[1] + g[2]), odd = kN1 * (g[1] - g[2]);
  const Vec even_a = kNa * (g[3] + g[4]), odd_a = (kNa * kA) * (g[3] - g[4]);
  w[0] = kN0 * g[0] + even + even_a;
  w[1] = odd + odd_a;
  w[2] = even + kA2 * even_a + g[5];
}

// Walks over the tiles of a run without a division per tile.
struct TileWalk {
  const TileRun& run;
  int64_t n, i, j;

  explicit TileWalk(const TileRun& r)
      : run(r),
        n(r.first / (r.down * r.across)),
        i(r.first / r.across % r.down),
        j(r.first % r.across) {}
  void next() {
    if (++j < run.across) return;
    j = 0;
    if (++i < run.down) return;
    i = 0;
    ++n;
  }
};

// Where the 6x6 pixels of a tile are; those outside the image point at zeros.
[[gnu::always_inline]] inline void locate_patch(const Image& image, const float* x, int64_t c,
                                                const TileWalk& at, const float* zeros,
                                                const float* (&pixel)[kXi]) {
  const int shift = image.enlarge;
  int64_t columns[kPatch];
  for (int j = 0; j < kPatch; ++j) {
    const int64_t w = kTile * at.j - 1 + j;
    columns[j] = w >= 0 && w < image.seen_w() ? (w >> shift) * c : -1;
  }
  for (int i = 0; i < kPatch; ++i) {
    const int64_t h = kTile * at.i - 1 + i;
    const bool inside = h >= 0 && h < image.seen_h();
    const float* row = x + (at.n * image.h + (h >> shift)) * image.w * c;
    for (int j = 0; j < kPatch; ++j)
      pixel[i * kPatch + j] = inside && columns[j] >= 0 ? row + columns[j] : zeros;
  }
}

template <bool kEnlarged>
[[gnu::always_inline]] inline void transform_patch(const float* const (&pixel)[kXi], int64_t offset,
                                                   float* v, int64_t v_xi) {
  Vec rows[kPatch][kPatch];  // (B^T d)
  for (int j = 0; j < kPatch; ++j) {
    Vec d[kPatch], t[kPatch];
    unrolled<kPatch>([&](auto i) { d[i] = load(pixel[i * kPatch + j] + offset); });
    input_axis(d, t);
    unrolled<kPatch>([&](auto i) { rows[i][j] = t[i]; });
  }
  for (int i = 0; i < kPatch; ++i) {
    if (kEnlarged && i == kMinusOne) continue;
    Vec t[kPatch];
    input_axis(rows[i], t);
    unrolled<kPatch>([&](auto j) {
      if (!kEnlarged || j != kMinusOne) store(v + (i * kPatch + j) * v_xi, t[j]);
    });
  }
}

// A vector of channels that straddles x0 and x1 or the last channel: gathered lane by lane.
[[gnu::noinline]] void gather_channels(const Image& image, const float* const (&p0)[kXi],
                                       const float* const (&p1)[kXi], int64_t c,
                                       float (&lanes)[kXi][kLanes]) {
  for (int xi = 0; xi < kXi; ++xi)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t channel = c + lane;
      lanes[xi][lane] = channel < image.c0    ? p0[xi][channel]
                        : channel < image.c() ? p1[xi][channel - image.c0]
                                              : 0.0f;
    }
}

template <bool kEnlarged>
void transform_input(const InputTransform& a) {
  const Image& image = a.image;
  TileWalk at(a.tiles);
  for (int64_t index = 0; index < a.tiles.count; ++index, at.next()) {
    const float *p0[kXi], *p1[kXi];
    locate_patch(image, image.x0, image.c0, at, a.zeros, p0);
    if (image.c1 > 0) locate_patch(image, image.x1, image.c1, at, a.zeros, p1);
    float* v = a.v + index * a.v_tile;
    for (int64_t c = 0; c < image.c(); c += kLanes, v += kLanes) {
      if (c + kLanes <= image.c0) {
        transform_patch<kEnlarged>(p0, c, v, a.v_xi);
      } else if (c >= image.c0 && c + kLanes <= image.c()) {
        transform_patch<kEnlarged>(p1, c - image.c0, v, a.v_xi);
      } else {
        float lanes[kXi][kLanes];
        gather_channels(image, p0, p1, c, lanes);
        const float* gathered[kXi];
        for (int xi = 0; xi < kXi; ++xi) gathered[xi] = lanes[xi];
        transform_patch<kEnlarged>(gathered, 0, v, a.v_xi);
      }
    }
  }
}

void input_transform(const InputTransform& a) {
  a.image.enlarge ? transform_input<true>(a) : transform_input<false>(a);
}

template <bool kEnlarged, bool kPool>
void transform_output(const OutputTransform& a) {
  constexpr int kSize = kPool ? kTile / 2 : kTile;
  TileWalk at(a.tiles);
  for (int64_t index = 0; index < a.tiles.count; ++index, at.next()) {
    const int64_t h0 = at.i * kSize, w0 = at.j * kSize;
    const int64_t rows = std::min<int64_t>(kSize, a.h - h0);
    const int64_t columns = std::min<int64_t>(kSize, a.w - w0);
    const int64_t base = ((at.n * a.h + h0) * a.w + w0) * a.y_pixel;
    const float* m = a.m + index * a.m_tile;
    for (int64_t k = 0; k < a.channels; k += kLanes) {
      Vec half[kTile][kPatch];  // (A^T m)
      for (int j = 0; j < kPatch; ++j) {
        Vec in[kPatch], out[kTile];
        unrolled<kPatch>([&](auto i) {
          if (kEnlarged && i == kMinusOne)
            in[i] = Vec{};
          else
            in[i] = load(m + (i * kPatch + j) * a.m_xi + k);
        });
        if (kEnlarged && j == kMinusOne) unrolled<kPatch>([&](auto i) { in[i] = Vec{}; });
        output_axis(in, out);
        unrolled<kTile>([&](auto i) { half[i][j] = out[i]; });
      }
      const int64_t count = a.channels - k;
      const bool whole = count >= kLanes;
      const Vec bias = !a.bias ? Vec{} : whole ? load(a.bias + k) : load_part(a.bias + k, count);
      for (int64_t i = 0; i < rows; ++i) {
        Vec y[kTile];
        if constexpr (kPool) {
          Vec top[kTile], bottom[kTile];
          output_axis(half[2 * i], top);
          output_axis(half[2 * i + 1], bottom);
          y[0] = (top[0] + top[1]) + (bottom[0] + bottom[1]);
          y[1] = (top[2] + top[3]) + (bottom[2] + bottom[3]);
        } else {
          output_axis(half[i], y);
        }
        const int64_t row = base + i * a.w * a.y_pixel + k;
        unrolled<kSize>([&](auto j) {
          if (j >= columns) return;
          const int64_t at_y = row + j * a.y_pixel;
          Vec value = y[j] + bias;
          if (whole) {
            if (a.residual) value += load(a.residual + at_y);
            store(a.y + at_y, value);
          } else {
            if (a.residual) value += load_part(a.residual + at_y, count);
            store_part(a.y + at_y, value, count);
          }
        });
      }
    }
  }
}

void output_transform(const OutputTransform& a) {
  if (a.pool)
    transform_output<true, true>(a);
  else if (a.enlarged)
    transform_output<true, false>(a);
  else
    transform_output<false, false>(a);
}

void gradient_transform(const GradientTransform& a) {
  TileWalk at(a.tiles);
  for (int64_t index = 0; index < a.tiles.count; ++index, at.next()) {
    const float* pixel[kTile][kTile];
    for (int i = 0; i < kTile; ++i)
      for (int j = 0; j < kTile; ++j) {
        const int64_t h = kTile * at.i + i, w = kTile * at.j + j;
        pixel[i][j] =
            h < a.h && w < a.w ? a.dy + ((at.n * a.h + h) * a.w + w) * a.dy_pixel : a.zeros;
      }
    float* z = a.z + index * a.z_tile;
    for (int64_t k = 0; k < a.channels; k += kLanes, z += kLanes) {
      const int64_t count = a.channels - k;
      Vec half[kPatch][kTile];  // (A dy)
      for (int j = 0; j < kTile; ++j) {
        Vec in[kTile], out[kPatch];
        unrolled<kTile>([&](auto i) {
          in[i] = count >= kLanes ? load(pixel[i][j] + k) : load_part(pixel[i][j] + k, count);
        });
        gradient_axis(in, out);
        unrolled<kPatch>([&](auto i) { half[i][j] = out[i]; });
      }
      for (int i = 0; i < kPatch; ++i) {
        Vec out[kPatch];
        gradient_axis(half[i], out);
        unrolled<kPatch>([&](auto j) { store(z + (i * kPatch + j) * a.z_xi, out[j]); });
      }
    }
  }
}

void filter_transform(const FilterTransform& a) {
  for (int64_t k = 0; k < a.count; k += kLanes) {
    Vec half[kPatch][3];
    for (int s = 0; s < 3; ++s) {
      Vec in[3], out[kPatch];
      unrolled<3>([&](auto r) { in[r] = load(a.w + (r * 3 + s) * a.w_tap + k); });
      filter_axis(in, out);
      unrolled<kPatch>([&](auto i) { half[i][s] = out[i]; });
    }
    for (int i = 0; i < kPatch; ++i) {
      Vec out[kPatch];
      filter_axis(half[i], out);
      unrolled<kPatch>([&](auto j) { store(a.u + (i * kPatch + j) * a.u_xi + k, out[j]); });
    }
  }
}

void filter_gradient(const FilterGradient& a) {
  for (int64_t k = 0; k < a.count; k += kLanes) {
    Vec half[3][kPatch];
    for (int j = 0; j < kPatch; ++j) {
      Vec in[kPatch], out[3];
      unrolled<kPatch>([&](auto i) {
        if (a.enlarged && (i == kMinusOne || j == kMinusOne))
          in[i] = Vec{};
        else
          in[i] = load(a.u + (i * kPatch + j) * a.u_xi + k);
      });
      filter_gradient_axis(in, out);
      unrolled<3>([&](auto r) { half[r][j] = out[r]; });
    }
    for (int r = 0; r < 3; ++r) {
      Vec out[3];
      filter_gradient_axis(half[r], out);
      unrolled<3>([&](auto s) { store(a.w + (r * 3 + s) * a.w_tap + k, out[s]); });
    }
  }
}
