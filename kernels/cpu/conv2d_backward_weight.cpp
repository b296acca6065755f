// The direct rung, backward to weight and bias: dW as products summed over pixels.
//
// dW[r, s, c, k] is, for each filter row r, a matrix product over all output pixels: `a` holds the
// run of S x C inputs that the filter row meets at each pixel, `b` is dy, and a register tile of dW
// stays in registers while a chunk of pixels is walked. With few output channels the roles are
// swapped, so that vectors always run along the longer side. The pixels are cut into slices by the
// shape alone; each slice sums into its own partial gradient and the partials are added in order,
// so that threads cannot change a result.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/conv2d_partials.h"
#include "kernels/cpu/conv2d_workspace.h"
#include "kernels/cpu/parallel.h"

namespace diffscm::kernels::cpu::direct {
namespace {

constexpr int64_t kSlicesMax = 16, kSlicePixelsMin = 512;
constexpr int64_t kPartialFloats = 1 << 22;  // of all slices together: 16 MiB

// How one slice's gradient is laid out: [r][(s, c)][padded k], or swapped [r][k][padded (s, c)].
struct Layout {
  bool swapped;
  int64_t run;  // S * C
  int64_t rows, columns, pitch;
  int64_t floats;

  explicit Layout(const ConvShape& s)
      : swapped(s.k < kLanesMax && s.k < s.s * s.c()),
        run(s.s * s.c()),
        rows(swapped ? s.k : run),
        columns(swapped ? run : s.k),
        pitch(padded(columns)),
        floats(s.r * rows * pitch) {}
};

// One task: filter row r, over the output pixels [begin, end) of a slice.
struct Task {
  int64_t r, begin, end;
};

// dy of a few pixels with whole vectors per pixel, since leaves read `b` by whole vectors.
const float* widen(const float* dy, int64_t pixels, int64_t k, int64_t pitch) {
  if (k == pitch) return dy;
  float* wide = workspace(Workspace::kOutput, pixels * pitch);
  std::memset(wide, 0, pixels * pitch * sizeof(float));
  for (int64_t i = 0; i < pixels; ++i) std::memcpy(wide + i * pitch, dy + i * k, k * sizeof(float));
  return wide;
}

// The S x C inputs that filter row r meets at each of the output pixels [pixel, pixel + count).
const float* copy_runs(const Image& image, const ConvShape& s, int64_t r, int64_t pixel,
                       int64_t count) {
  const int64_t c = s.c(), run = s.s * c, p = s.p(), q = s.q();
  const bool plain = image.c1 == 0 && !image.enlarge;
  float* runs = workspace(Workspace::kImage, count * run);
  for (int64_t done = 0; done < count;) {  // the rest of one image row
    const int64_t n = (pixel + done) / (p * q), i = (pixel + done) / q % p, j = (pixel + done) % q;
    const int64_t pixels = std::min(q - j, count - done);
    const int64_t h = i * s.stride + r - s.r / 2;
    const float* row = image.x0 + (n * image.h + h) * image.w * c;
    for (int64_t at = 0; at < pixels; ++at, ++done) {
      const int64_t w = (j + at) * s.stride - s.s / 2;
      float* out = runs + done * run;
      if (!plain || h < 0 || h >= image.h || w < 0 || w + s.s > image.w)
        copy_window(image, n, h, 1, w, s.s, out);
      else if (run < kLanesMax)
        for (int64_t l = 0; l < run; ++l) out[l] = row[w * c + l];
      else
        std::memcpy(out, row + w * c, run * sizeof(float));
    }
  }
  return runs;
}

// dW[r] of a slice, a chunk of pixels at a time: the chunk stays in the L1 cache while all tiles of
// dW walk over it. 1x1 with stride 1 reads x0 and x1 in place: their pixels are rows of two
// matrices.
void sum_task(const Conv2dBackwardWeightArgs& a, const Layout& layout, const Task& task, float* out,
              Isa isa) {
  const ConvShape& s = a.shape;
  const Image image{a.x0, a.x1, s.h, s.w, s.c0, s.c1, s.upsample};
  const bool in_place = s.r == 1 && s.stride == 1 && !layout.swapped;
  constexpr int64_t kChunkFloats = 10240;
  const int64_t chunk = std::clamp<int64_t>(kChunkFloats / (layout.run + s.k), 48, 512);
  for (int64_t pixel = task.begin; pixel < task.end; pixel += chunk) {
    const int64_t count = std::min(chunk, task.end - pixel);
    const float* dy = a.dy + pixel * s.k;
    Product product{.a = nullptr,
                    .a_tap = 0,
                    .a_row = 1,
                    .a_step = layout.run,
                    .b = nullptr,
                    .b_panel = kLanesMax,
                    .b_row = layout.pitch,
                    .taps = 1,
                    .length = count,
                    .rows = layout.rows,
                    .columns = layout.pitch,
                    .bias = nullptr,
                    .residual = pixel == task.begin ? nullptr : out,
                    .out = out,
                    .out_row = layout.pitch};
    if (in_place) {
      product.b = widen(dy, count, s.k, layout.pitch);
      product.a = a.x0 + pixel * s.c0;
      product.a_step = product.rows = s.c0;
      leaves(isa).product(product);
      if (s.c1 == 0) continue;
      product.a = a.x1 + pixel * s.c1;
      product.a_step = product.rows = s.c1;
      product.out += s.c0 * layout.pitch;
      if (product.residual) product.residual = product.out;
    } else if (layout.swapped) {
      product.a = dy;
      product.a_step = s.k;
      product.b = copy_runs(image, s, task.r, pixel, count);
      product.b_row = layout.run;
      product.columns = layout.columns;
    } else {
      product.a = copy_runs(image, s, task.r, pixel, count);
      product.b = widen(dy, count, s.k, layout.pitch);
    }
    leaves(isa).product(product);
  }
}

void sum_bias(const Conv2dBackwardWeightArgs& a, const Task& task, float* partial) {
  const ConvShape& s = a.shape;
  std::memset(partial, 0, s.k * sizeof(float));
  for (int64_t i = task.begin; i < task.end; ++i)
    for (int64_t k = 0; k < s.k; ++k) partial[k] += a.dy[i * s.k + k];
}

}  // namespace

void conv2d_backward_weight(const Conv2dBackwardWeightArgs& a, Isa isa) {
  const ConvShape& s = a.shape;
  const Layout layout(s);
  const int64_t slice_floats = layout.floats + padded(s.k);
  const int64_t pixels = s.n * s.p() * s.q();
  const int64_t slices = std::clamp<int64_t>(
      std::min(kPartialFloats / slice_floats, pixels / kSlicePixelsMin), 1, kSlicesMax);
  float* partials = workspace(Workspace::kPartials, slices * slice_floats);
  parallel_tasks_if(worth_threads(s), slices * s.r, [&](int64_t item) {
    const int64_t slice = item / s.r;
    const Task task{item % s.r, pixels * slice / slices, pixels * (slice + 1) / slices};
    float* partial = partials + slice * slice_floats;
    sum_task(a, layout, task, partial + task.r * layout.rows * layout.pitch, isa);
    if (a.dbias && task.r == 0) sum_bias(a, task, partial + layout.floats);
  });

  add_slices(partials, slices, slice_floats);
  const int64_t row_floats = layout.rows * layout.pitch;
  if (layout.swapped) {
    for (int64_t k = 0; k < s.k; ++k)
      for (int64_t r = 0; r < s.r; ++r)
        std::memcpy(a.dweight + (k * s.r + r) * layout.run,
                    partials + r * row_floats + k * layout.pitch, layout.run * sizeof(float));
  } else {
    transpose(partials, s.r * layout.run, s.k, layout.pitch, a.dweight);
  }
  if (a.dbias) std::copy_n(partials + layout.floats, s.k, a.dbias);
}

}  // namespace diffscm::kernels::cpu::direct
