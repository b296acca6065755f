// Small elementwise operators. All are bound by memory: each kernel is one loop over vectors of 16
// bytes with two of them under way per thread (device/elements.h), computed in f32. Where an array
// is not aligned to 16 bytes, the same kernel runs on single elements.
//
// Multiply-adds are written out, so that nvcc and the emulator round alike.
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kFlight = 2;

template <int width>
struct Pair {
  Numbers<width> x, z;
};

template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) combine(BasicLinearCombinationArgs<T> args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n,
      [&](auto w, int64_t i) {
        return Pair<w>{load_numbers<w>(args.x + i), load_numbers<w>(args.z + i)};
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> y;
#pragma unroll
        for (int j = 0; j < w; ++j) y[j] = fmaf(args.a, in.x[j], args.b * in.z[j]);
        store_numbers(args.y + i, y);
      });
}

template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) multiply(BasicLinearCombinationArgs<T> args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n, [&](auto w, int64_t i) { return load_numbers<w>(args.x + i); },
      [&](auto w, int64_t i, auto x) {
#pragma unroll
        for (int j = 0; j < w; ++j) x[j] *= args.a;
        store_numbers(args.y + i, x);
      });
}

template <int width, class From, class To>
__global__ void __launch_bounds__(kElementThreads) convert(CastArgs<From, To> args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n, [&](auto w, int64_t i) { return load_numbers<w>(args.x + i); },
      [&](auto w, int64_t i, const auto& x) { store_numbers<w>(args.y + i, x); });
}

template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) silu_forward(BasicSiluArgs<T> args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n, [&](auto w, int64_t i) { return load_numbers<w>(args.x + i); },
      [&](auto w, int64_t i, auto x) {
#pragma unroll
        for (int j = 0; j < w; ++j) x[j] *= sigmoid(x[j]);
        store_numbers(args.y + i, x);
      });
}

template <int width, class T>
__global__ void __launch_bounds__(kElementThreads) silu_gradient(BasicSiluBackwardArgs<T> args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n,
      [&](auto w, int64_t i) {
        return Pair<w>{load_numbers<w>(args.x + i), load_numbers<w>(args.dy + i)};
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> dx;
#pragma unroll
        for (int j = 0; j < w; ++j) {
          const float s = sigmoid(in.x[j]);
          dx[j] = in.z[j] * fmaf(in.x[j] * s, 1.0f - s, s);
        }
        store_numbers(args.dx + i, dx);
      });
}

template <int width>
__global__ void __launch_bounds__(kElementThreads) relu_forward(ReluArgs args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n, [&](auto w, int64_t i) { return load_numbers<w>(args.x + i); },
      [&](auto w, int64_t i, auto x) {
#pragma unroll
        for (int j = 0; j < w; ++j) x[j] = x[j] < 0.0f ? 0.0f : x[j];
        store_numbers(args.y + i, x);
      });
}

template <int width>
__global__ void __launch_bounds__(kElementThreads) relu_gradient(ReluBackwardArgs args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n,
      [&](auto w, int64_t i) {
        return Pair<w>{load_numbers<w>(args.y + i), load_numbers<w>(args.dy + i)};
      },
      [&](auto w, int64_t i, const auto& in) {
        Numbers<w> dx;
#pragma unroll
        for (int j = 0; j < w; ++j) dx[j] = in.x[j] > 0.0f ? in.z[j] : 0.0f;
        store_numbers(args.dx + i, dx);
      });
}

// A vector lies within one sample: the launchers of this and the next two see to it.
template <int width>
__global__ void __launch_bounds__(kElementThreads) combine_rows(CombineSamplesArgs args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n * args.elements,
      [&](auto w, int64_t i) {
        return Pair<w>{load_numbers<w>(args.x + i), load_numbers<w>(args.z + i)};
      },
      [&](auto w, int64_t i, const auto& in) {
        const int64_t sample = i / args.elements;
        const float a = args.a[sample], b = args.b[sample];
        Numbers<w> y;
#pragma unroll
        for (int j = 0; j < w; ++j) y[j] = fmaf(a, in.x[j], b * in.z[j]);
        store_numbers(args.y + i, y);
      });
}

template <int width>
__global__ void __launch_bounds__(kElementThreads) multiply_rows(CombineSamplesArgs args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n * args.elements, [&](auto w, int64_t i) { return load_numbers<w>(args.x + i); },
      [&](auto w, int64_t i, auto x) {
        const float a = args.a[i / args.elements];
#pragma unroll
        for (int j = 0; j < w; ++j) x[j] *= a;
        store_numbers(args.y + i, x);
      });
}

template <int width>
__global__ void __launch_bounds__(kElementThreads) copy_rows(GatherRowsArgs args) {
  follow_previous_kernel();
  for_each_vector<width, kFlight>(
      args.n * args.elements,
      [&](auto w, int64_t i) {
        const int64_t row = args.rows[i / args.elements];
        if (row >= 0 && row < args.rows_of_x)
          return load_numbers<w>(args.x + row * args.elements + i % args.elements);
        Numbers<w> nowhere;
#pragma unroll
        for (int j = 0; j < w; ++j) nowhere[j] = nanf("");
        return nowhere;
      },
      [&](auto w, int64_t i, const auto& x) { store_numbers<w>(args.y + i, x); });
}

// One thread per frequency and sample.
__global__ void __launch_bounds__(kElementThreads) embed_timesteps(TimestepEmbeddingArgs args) {
  follow_previous_kernel();
  const int64_t half = args.channels / 2;
  for_each_vector<1>(
      args.n * half, [&](auto, int64_t i) { return args.t[i / half]; },
      [&](auto, int64_t i, float t) {
        const int64_t n = i / half, k = i % half;
        embed_time(t, k, half, args.last_frequency, args.emb + n * args.channels);
      });
}

}  // namespace

template <class T>
void linear_combination(const BasicLinearCombinationArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<T>;
  const bool aligned = aligned16(args.x) && aligned16(args.z) && aligned16(args.y);
  if (args.z)
    launch_elements<combine<kWidth, T>, combine<1, T>>(args.n, kWidth, aligned, stream, args);
  else
    launch_elements<multiply<kWidth, T>, multiply<1, T>>(args.n, kWidth, aligned, stream, args);
}
template void linear_combination(const BasicLinearCombinationArgs<float>&, Stream);
template void linear_combination(const BasicLinearCombinationArgs<bf16>&, Stream);

template <class From, class To>
void cast(const CastArgs<From, To>& args, Stream stream) {
  if (args.n == 0) return;
  // 16 bytes of bf16, and two vectors of f32.
  constexpr int kWidth = kVector<bf16>;
  launch_elements<convert<kWidth, From, To>, convert<1, From, To>>(
      args.n, kWidth, aligned16(args.x) && aligned16(args.y), stream, args);
}
void cast_to_bf16(const CastArgs<float, bf16>& args, Stream stream) {
  cast(args, stream);
}
void cast_to_f32(const CastArgs<bf16, float>& args, Stream stream) {
  cast(args, stream);
}

template <class T>
void silu(const BasicSiluArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<T>;
  launch_elements<silu_forward<kWidth, T>, silu_forward<1, T>>(
      args.n, kWidth, aligned16(args.x) && aligned16(args.y), stream, args);
}
template void silu(const BasicSiluArgs<float>&, Stream);
template void silu(const BasicSiluArgs<bf16>&, Stream);

template <class T>
void silu_backward(const BasicSiluBackwardArgs<T>& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<T>;
  launch_elements<silu_gradient<kWidth, T>, silu_gradient<1, T>>(
      args.n, kWidth, aligned16(args.x) && aligned16(args.dy) && aligned16(args.dx), stream, args);
}
template void silu_backward(const BasicSiluBackwardArgs<float>&, Stream);
template void silu_backward(const BasicSiluBackwardArgs<bf16>&, Stream);

void relu(const ReluArgs& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<float>;
  launch_elements<relu_forward<kWidth>, relu_forward<1>>(
      args.n, kWidth, aligned16(args.x) && aligned16(args.y), stream, args);
}

void relu_backward(const ReluBackwardArgs& args, Stream stream) {
  if (args.n == 0) return;
  constexpr int kWidth = kVector<float>;
  launch_elements<relu_gradient<kWidth>, relu_gradient<1>>(
      args.n, kWidth, aligned16(args.y) && aligned16(args.dy) && aligned16(args.dx), stream, args);
}

void timestep_embedding(const TimestepEmbeddingArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch<embed_timesteps>(element_grid(args.n * args.channels / 2, 1), dim3(kElementThreads), 0,
                          stream, args);
}

void combine_samples(const CombineSamplesArgs& args, Stream stream) {
  const int64_t size = args.n * args.elements;
  if (size == 0) return;
  constexpr int kWidth = kVector<float>;
  const bool aligned =
      aligned16(args.x) && aligned16(args.z) && aligned16(args.y) && args.elements % kWidth == 0;
  if (args.z)
    launch_elements<combine_rows<kWidth>, combine_rows<1>>(size, kWidth, aligned, stream, args);
  else
    launch_elements<multiply_rows<kWidth>, multiply_rows<1>>(size, kWidth, aligned, stream, args);
}

void gather_rows(const GatherRowsArgs& args, Stream stream) {
  const int64_t size = args.n * args.elements;
  if (size == 0) return;
  constexpr int kWidth = kVector<float>;
  const bool aligned = aligned16(args.x) && aligned16(args.y) && args.elements % kWidth == 0;
  launch_elements<copy_rows<kWidth>, copy_rows<1>>(size, kWidth, aligned, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
