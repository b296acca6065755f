// Max pooling. As in pool.cu a thread takes 16 bytes of channels of one output pixel, or single
// channels where their number or an address is odd. Backward gathers too: a thread takes one input
// pixel, reads its whole window again and keeps the gradient only if its own element is the first
// largest. That reads x four times, from cache mostly, and needs no memory of where the maxima
// were.
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// b takes a's place: a NaN always does.
__device__ inline bool beats(float b, float a) {
  return b > a || b != b;
}

template <int width>
struct Window {
  Numbers<width> at[4];  // in reading order
};

// The 2x2 window of output pixel `pixel` (counted over all samples), channels from `channel` on.
template <int width>
__device__ inline Window<width> load_window(const float* x, int64_t h, int64_t w, int64_t c,
                                            int64_t n, int64_t p, int64_t q, int64_t channel) {
  const int64_t row = w * c;
  const float* top = x + (n * h + 2 * p) * row + 2 * q * c + channel;
  return {load_numbers<width>(top), load_numbers<width>(top + c), load_numbers<width>(top + row),
          load_numbers<width>(top + row + c)};
}

// Where the first largest element stands, as the cpu target finds it: rows first, then between
// them.
template <int width>
__device__ inline int largest(const Window<width>& in, int j) {
  const int above = beats(in.at[1][j], in.at[0][j]) ? 1 : 0;
  const int below = beats(in.at[3][j], in.at[2][j]) ? 3 : 2;
  const float best_above = above == 1 ? in.at[1][j] : in.at[0][j];
  const float best_below = below == 3 ? in.at[3][j] : in.at[2][j];
  return beats(best_below, best_above) ? below : above;
}

// `width` divides the number of channels.
template <int width>
__global__ void __launch_bounds__(kElementThreads) max_pixels(MaxPoolArgs args) {
  follow_previous_kernel();
  const int64_t c = args.c, h_out = args.h / 2, w_out = args.w / 2;
  for_each_vector<width>(
      args.n * h_out * w_out * c,
      [&](auto w, int64_t i) {
        const int64_t pixel = i / c, line = pixel / w_out;
        return load_window<w>(args.x, args.h, args.w, c, line / h_out, line % h_out, pixel % w_out,
                              i % c);
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> y;
#pragma unroll
        for (int j = 0; j < w; ++j) {
          const int k = largest(in, j);
          y[j] = k == 0 ? in.at[0][j] : k == 1 ? in.at[1][j] : k == 2 ? in.at[2][j] : in.at[3][j];
        }
        store_numbers(args.y + i, y);
      });
}

template <int width>
__global__ void __launch_bounds__(kElementThreads) max_gradient(MaxPoolBackwardArgs args) {
  follow_previous_kernel();
  const int64_t c = args.c, h_out = args.h / 2, w_out = args.w / 2;
  for_each_vector<width>(
      args.n * args.h * args.w * c,
      [&](auto w, int64_t i) {
        const int64_t pixel = i / c, x = pixel % args.w, line = pixel / args.w;
        const int64_t n = line / args.h, y = line % args.h, p = y / 2, q = x / 2;
        Numbers<w> dx;
        if (p >= h_out || q >= w_out) return dx;
        const auto in = load_window<w>(args.x, args.h, args.w, c, n, p, q, i % c);
        const auto dy = load_numbers<w>(args.dy + ((n * h_out + p) * w_out + q) * c + i % c);
        const int own = static_cast<int>(y % 2 * 2 + x % 2);
#pragma unroll
        for (int j = 0; j < w; ++j) dx[j] = largest(in, j) == own ? dy[j] : 0.0f;
        return dx;
      },
      [&](auto, int64_t i, const auto& dx) { store_numbers(args.dx + i, dx); });
}

}  // namespace

void max_pool(const MaxPoolArgs& args, Stream stream) {
  const int64_t elements = args.n * (args.h / 2) * (args.w / 2) * args.c;
  if (elements == 0) return;
  constexpr int kWidth = kVector<float>;
  const bool aligned = args.c % kWidth == 0 && aligned16(args.x) && aligned16(args.y);
  launch_elements<max_pixels<kWidth>, max_pixels<1>>(elements, kWidth, aligned, stream, args);
}

void max_pool_backward(const MaxPoolBackwardArgs& args, Stream stream) {
  const int64_t elements = args.n * args.h * args.w * args.c;
  if (elements == 0) return;
  constexpr int kWidth = kVector<float>;
  const bool aligned =
      args.c % kWidth == 0 && aligned16(args.x) && aligned16(args.dy) && aligned16(args.dx);
  launch_elements<max_gradient<kWidth>, max_gradient<1>>(elements, kWidth, aligned, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
