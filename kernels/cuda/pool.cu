// Pooling and the attention pool's tokens. In NHWC the channels of a pixel are contiguous: a thread
// takes 16 bytes of channels of one output pixel (or single channels where their number or an
// address is odd) and gathers what that needs. Nothing is scattered, so every output is written
// exactly once and sums have a fixed order.
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

template <int width>
struct Window {
  Numbers<width> at[4];
};

// In all kernels `width` divides the number of channels.
template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) pool_pixels(BasicAvgPoolArgs<T> args) {
  follow_previous_kernel();
  const int64_t c = args.c, h_out = args.h / 2, w_out = args.w / 2, row = args.w * c;
  for_each_vector<width>(
      args.n * h_out * w_out * c,
      [&](auto w, int64_t i) {
        const int64_t pixel = i / c, q = pixel % w_out, line = pixel / w_out;
        const int64_t n = line / h_out, p = line % h_out;
        const T* top = args.x + (n * args.h + 2 * p) * row + 2 * q * c + i % c;
        return Window<w>{load_numbers<w>(top), load_numbers<w>(top + c), load_numbers<w>(top + row),
                         load_numbers<w>(top + row + c)};
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> y;
#pragma unroll
        for (int j = 0; j < w; ++j)
          y[j] = 0.25f * ((in.at[0][j] + in.at[1][j]) + (in.at[2][j] + in.at[3][j]));
        store_numbers(args.y + i, y);
      });
}

// The gradient of a window's pixels, where they are, and which there are.
template <int width, class T>
struct WindowGradient {
  Numbers<width> dx;
  T* to;
  bool below, beside;
};

// A thread takes a window and writes what there is of it; one that hangs over the edge has no
// output, and gets zeros.
template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) unpool_pixels(BasicAvgPoolBackwardArgs<T> args) {
  follow_previous_kernel();
  const int64_t c = args.c, h_out = args.h / 2, w_out = args.w / 2;
  const int64_t windows_down = ceil_div(args.h, 2), windows_across = ceil_div(args.w, 2);
  for_each_vector<width>(
      args.n * windows_down * windows_across * c,
      [&](auto w, int64_t i) {
        const int64_t window = i / c, q = window % windows_across, line = window / windows_across;
        const int64_t n = line / windows_down, p = line % windows_down;
        WindowGradient<w, T> one{
            .dx = {},
            .to = args.dx + ((n * args.h + 2 * p) * args.w + 2 * q) * c + i % c,
            .below = 2 * p + 1 < args.h,
            .beside = 2 * q + 1 < args.w};
        if (p < h_out && q < w_out)
          one.dx = load_numbers<w>(args.dy + ((n * h_out + p) * w_out + q) * c + i % c);
        return one;
      },
      [&](auto, int64_t, auto one) {
        for (float& dx : one.dx.v) dx *= 0.25f;
        const int64_t row = args.w * c;
        store_numbers(one.to, one.dx);
        if (one.beside) store_numbers(one.to + c, one.dx);
        if (one.below) store_numbers(one.to + row, one.dx);
        if (one.beside && one.below) store_numbers(one.to + row + c, one.dx);
      });
}

// Tokens of one sample and up to kLanes vectors of channels: a block of kLanes x kRows threads,
// whose rows share the pixels. Each pixel is read once, for its own token and for the mean.
constexpr int kLanes = 32;
constexpr int kRows = 8;

template <int width>
struct RowSums {
  float at[kRows][kLanes][width];
};

template <int width, class T>
__global__ void __launch_bounds__(kLanes* kRows) make_tokens(BasicPoolTokensArgs<T> args) {
  follow_previous_kernel();
  auto& sums = shared_memory<RowSums<width>>();
  const int64_t hw = args.hw, c = args.c, chunks = ceil_div(c, kLanes * width);
  const int64_t n = blockIdx.x / chunks;
  const int64_t channel = (blockIdx.x % chunks * kLanes + threadIdx.x) * width;
  const T* x = args.x + n * hw * c + channel;
  const float* position = args.position + channel;
  T* y = args.y + n * (hw + 1) * c + channel;

  Numbers<width> sum;
  if (channel < c) {
#pragma unroll 2
    for (int64_t t = threadIdx.y; t < hw; t += kRows) {
      const auto pixel = load_numbers<width>(x + t * c);
      auto token = load_numbers<width>(position + (t + 1) * c);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        sum[j] += pixel[j];
        token[j] += pixel[j];
      }
      store_numbers(y + (t + 1) * c, token);
    }
  }
#pragma unroll
  for (int j = 0; j < width; ++j) sums.at[threadIdx.y][threadIdx.x][j] = sum[j];
  __syncthreads();
  if (threadIdx.y == 0 && channel < c) {
    for (int row = 1; row < kRows; ++row)
#pragma unroll
      for (int j = 0; j < width; ++j) sum[j] += sums.at[row][threadIdx.x][j];
    auto token = load_numbers<width>(position);
    const float scale = 1.0f / static_cast<float>(hw);
#pragma unroll
    for (int j = 0; j < width; ++j) token[j] = fmaf(sum[j], scale, token[j]);
    store_numbers(y, token);
  }
}

template <int width>
struct TokenGradients {
  Numbers<width> own, mean;
};

template <int width, class T>
__global__ void __launch_bounds__(kElementThreads)
    pixel_gradients(BasicPoolTokensBackwardArgs<T> args) {
  follow_previous_kernel();
  const int64_t c = args.c, pixels = args.hw * c;
  const float scale = 1.0f / static_cast<float>(args.hw);
  for_each_vector<width, 2>(
      args.n * pixels,
      [&](auto w, int64_t i) {
        const T* sample = args.dy + i / pixels * (pixels + c);
        return TokenGradients<w>{load_numbers<w>(sample + c + i % pixels),
                                 load_numbers<w>(sample + i % c)};
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> dx;
#pragma unroll
        for (int j = 0; j < w; ++j) dx[j] = fmaf(scale, in.mean[j], in.own[j]);
        store_numbers(args.dx + i, dx);
      });
}

template <int width, class T>
void launch_tokens(const BasicPoolTokensArgs<T>& args, Stream stream) {
  const int64_t blocks = args.n * ceil_div(args.c, kLanes * width);
  launch<make_tokens<width, T>>(dim3(static_cast<unsigned>(blocks)), dim3(kLanes, kRows),
                                sizeof(RowSums<width>), stream, args);
}

}  // namespace

template <class T>
void avg_pool(const BasicAvgPoolArgs<T>& args, Stream stream) {
  const int64_t size = args.n * (args.h / 2) * (args.w / 2) * args.c;
  if (size == 0) return;
  constexpr int kWidth = kVector<T>;
  const bool vectors = args.c % kWidth == 0 && aligned16(args.x) && aligned16(args.y);
  launch_elements<pool_pixels<kWidth, T>, pool_pixels<1, T>>(size, kWidth, vectors, stream, args);
}
template void avg_pool(const BasicAvgPoolArgs<float>&, Stream);
template void avg_pool(const BasicAvgPoolArgs<bf16>&, Stream);

template <class T>
void avg_pool_backward(const BasicAvgPoolBackwardArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<T>;
  const bool vectors = args.c % kWidth == 0 && aligned16(args.dy) && aligned16(args.dx);
  const int64_t windows = args.n * ceil_div(args.h, 2) * ceil_div(args.w, 2);
  launch_elements<unpool_pixels<kWidth, T>, unpool_pixels<1, T>>(windows * args.c, kWidth, vectors,
                                                                 stream, args);
}
template void avg_pool_backward(const BasicAvgPoolBackwardArgs<float>&, Stream);
template void avg_pool_backward(const BasicAvgPoolBackwardArgs<bf16>&, Stream);

template <class T>
void pool_tokens(const BasicPoolTokensArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<T>;
  if (args.c % kWidth == 0 && aligned16(args.x) && aligned16(args.position) && aligned16(args.y))
    launch_tokens<kWidth>(args, stream);
  else
    launch_tokens<1>(args, stream);
}
template void pool_tokens(const BasicPoolTokensArgs<float>&, Stream);
template void pool_tokens(const BasicPoolTokensArgs<bf16>&, Stream);

template <class T>
void pool_tokens_backward(const BasicPoolTokensBackwardArgs<T>& args, Stream stream) {
  if (args.dx && args.n > 0) {
    constexpr int kWidth = kVector<T>;
    const bool vectors = args.c % kWidth == 0 && aligned16(args.dy) && aligned16(args.dx);
    launch_elements<pixel_gradients<kWidth, T>, pixel_gradients<1, T>>(
        args.n * args.hw * args.c, kWidth, vectors, stream, args);
  }
  if (args.dposition) {
    // The sum over samples; with none of them it writes zeros.
    const int64_t tokens = (args.hw + 1) * args.c;
    column_sum(BasicColumnSumArgs<T>{args.n, tokens, args.dy, args.dposition}, stream);
  }
}
template void pool_tokens_backward(const BasicPoolTokensBackwardArgs<float>&, Stream);
template void pool_tokens_backward(const BasicPoolTokensBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
