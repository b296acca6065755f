// The weight gradient as a matrix product over pixels, and what its rungs share.
//
//   dweight[k, (r,s,c)] = sum over output pixels i of dy[i, k] * patches[i, (r,s,c)]
//
// where row i of `patches` holds the R x S x C inputs that the filter meets at output pixel i. The
// matrix `patches` (nine times the image for a 3x3 filter) is never built: PatchView finds its
// elements in x0 and x1. dy and patches are both stored with a pixel's channels side by side, that
// is with the summed index slow: both are read in whole rows.
//
// The result is small and the sum long (64 x 576 over a million pixels), so the pixels are cut into
// slices, each of which gives partial sums; a second kernel adds those in order. The number of
// slices follows from the shape alone, so results are bit-reproducible.
#pragma once

#include <algorithm>

#include "kernels/cuda/conv2d_rungs.h"
#include "kernels/cuda/device/divisor.h"
#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/register_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// p + rows * bytes, by one instruction: the compiler would prepare a 64-bit product of them.
__device__ inline const void* rows_further(const void* p, int rows, int bytes) {
  forget_origin(bytes);
  return static_cast<const char*>(p) + static_cast<int64_t>(rows) * bytes;
}

// The patches of a whole batch. Kernels look at a slice of their rows at a time; within it, pixels
// are counted and addressed in 32 bits.
template <class T>
struct PatchView {
  const T *x0, *x1;
  int64_t c0, c1, columns, pixels;
  int h, w, in_h, in_w, filter, stride, upsample;
  Divisor image, row;  // output pixels in an image and in a row of it

  explicit PatchView(const BasicConv2dBackwardWeightArgs<T>& args)
      : x0(args.x0),
        x1(args.x1),
        c0(args.shape.c0),
        c1(args.shape.c1),
        columns(args.shape.r * args.shape.s * args.shape.c()),
        pixels(args.shape.n * args.shape.p() * args.shape.q()),
        h(static_cast<int>(args.shape.h)),
        w(static_cast<int>(args.shape.w)),
        in_h(static_cast<int>(args.shape.in_h())),
        in_w(static_cast<int>(args.shape.in_w())),
        filter(static_cast<int>(args.shape.r)),
        stride(args.shape.stride),
        upsample(args.shape.upsample),
        image(args.shape.p() * args.shape.q()),
        row(args.shape.q()) {
    require(args.shape.h * args.shape.w <= int64_t{1} << 29,
            "conv2d_backward_weight: an image of {}x{}, expected at most 2^29 pixels", args.shape.h,
            args.shape.w);
  }

  // A slice of the output pixels: `pixels` of them from `begin` on. The first lies in image
  // `image`, after `rest` others.
  struct Slice {
    int64_t begin, image;
    int pixels;
    uint32_t rest;
  };
  __device__ Slice slice(const Split& split, int64_t index) const {
    const int64_t begin = index * split.length, left = pixels - begin;
    return {begin, begin / image.value(),
            static_cast<int>(left < split.length ? left : split.length),
            static_cast<uint32_t>(begin % image.value())};
  }

  // A column (r, s, c): its channel of x0 or x1 in the slice's first image, and its offset from the
  // filter's centre, which past the last column leads out of every image.
  struct Column {
    const T* x;
    int channels, dh, dw;
  };
  __device__ Column column(const Slice& slice, int64_t index) const {
    constexpr int kNowhere = -(1 << 30);
    const int64_t tap = index / (c0 + c1), c = index % (c0 + c1);
    const bool second = c >= c0;
    const int64_t channels = second ? c1 : c0;
    const T* x = (second ? x1 + (c - c0) : x0 + c) + slice.image * h * w * channels;
    return {x, static_cast<int>(channels),
            index < columns ? static_cast<int>(tap / filter) - filter / 2 : kNowhere,
            static_cast<int>(tap % filter) - filter / 2};
  }

  // Where the filter's centre lies at the slice's output pixel i, and the stored rows before it.
  struct Pixel {
    int rows, h, w;
  };
  __device__ Pixel pixel(const Slice& slice, int i) const {
    const uint32_t at = slice.rest + static_cast<uint32_t>(i), n = image.quotient(at);
    const uint32_t in_image = image.remainder(at, n), p = row.quotient(in_image);
    return {static_cast<int>(n) * h, static_cast<int>(p) * stride,
            static_cast<int>(row.remainder(in_image, p)) * stride};
  }

  // The element; where the filter hangs over the image's edge it does not exist, and the address is
  // another one's. No branches: a warp's lanes stand at different places of the filter.
  struct Element {
    const T* p;
    bool exists;
  };
  __device__ Element find(const Pixel& pixel, const Column& column) const {
    const int at_h = pixel.h + column.dh, at_w = pixel.w + column.dw;
    const bool exists = (static_cast<unsigned>(at_h) < static_cast<unsigned>(in_h)) &
                        (static_cast<unsigned>(at_w) < static_cast<unsigned>(in_w));
    const int stored = (pixel.rows + (at_h >> upsample)) * w + (at_w >> upsample);
    return {column.x + static_cast<int64_t>(exists ? stored : 0) * column.channels, exists};
  }
};

// Four neighbouring columns of the patches: one address if they lie in one tap and tensor.
template <class T, bool kVectored>
struct FourColumns {
  using View = PatchView<T>;
  typename View::Column at[kVectored ? 1 : 4];

  __device__ FourColumns(const View& view, const typename View::Slice& slice, int64_t column) {
#pragma unroll
    for (int i = 0; i < (kVectored ? 1 : 4); ++i) at[i] = view.column(slice, column + i);
  }
  __device__ Vector<float, 4> fetch(const View& view, const typename View::Pixel& pixel) const {
    if constexpr (kVectored) {
      const auto element = view.find(pixel, at[0]);
      return load_four(element.p, element.exists ? 4 : 0, true);
    } else {
      Vector<float, 4> x;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto element = view.find(pixel, at[i]);
        x[i] = element.exists ? to_float(*element.p) : 0.0f;
      }
      return x;
    }
  }
};

// Whether four columns, counted from a multiple of four, always lie side by side.
template <class T>
bool patches_vectored(const BasicConv2dBackwardWeightArgs<T>& args) {
  return (args.shape.c0 | args.shape.c1) % 4 == 0 && aligned16(args.x0) && aligned16(args.x1);
}

// Runs run(out, dbias) for that many partial sums, and adds them. Part i belongs at
// out + i * K * R * S * C or, if it also sums dy for a `dbias` that is not null, at
// out + i * (K * R * S * C + K) and at dbias + i * (K * R * S * C + K).
template <class T, class Run>
void in_partials(const BasicConv2dBackwardWeightArgs<T>& args, int64_t parts, Stream stream,
                 float* dbias, Run run) {
  const ConvShape& s = args.shape;
  if (parts == 1) return run(args.dweight, dbias);
  const int64_t columns = s.r * s.s * s.c(), weights = s.k * columns;
  const int64_t sums = dbias ? weights + s.k : weights;
  auto* partials = static_cast<float*>(workspace(parts * sums * sizeof(float), stream));
  run(partials, dbias ? partials + weights : nullptr);
  sum_slices<float>(partials, static_cast<int>(parts), s.k, columns, nullptr, nullptr, args.dweight,
                    columns, stream, dbias);
}

// Cuts the pixels into slices so that tiles times slices come near `blocks_wanted`, and runs
// run(split, out, dbias) for all of them (in_partials).
template <class T, class Run>
void sum_over_pixels(const BasicConv2dBackwardWeightArgs<T>& args, int64_t tiles,
                     int64_t blocks_wanted, Stream stream, float* dbias, Run run) {
  constexpr int64_t kSliceMin = 256, kSliceMax = int64_t{1} << 28;  // pixels
  constexpr int64_t kSliceUnit = 32;  // a multiple of every rung's step
  const ConvShape& s = args.shape;
  const int64_t pixels = s.n * s.p() * s.q();
  const int64_t slices = std::max(std::min(ceil_div(blocks_wanted, tiles), pixels / kSliceMin),
                                  pixels / kSliceMax + 1);
  const int64_t length = ceil_div(ceil_div(pixels, slices), kSliceUnit) * kSliceUnit;
  const Split split{static_cast<int>(ceil_div(pixels, length)), length};
  in_partials(args, split.slices, stream, dbias,
              [&](float* out, float* sums_of_dy) { run(split, out, sums_of_dy); });
}

// Checks the arguments and runs a rung: the given one, or the best for the shape.
template <class T>
void run_conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>& args,
                                std::optional<ConvRung> rung, Stream stream);

// The rungs but for naive (conv2d_rungs.h), for arguments that have been checked; they write
// dweight, and only the tensor cores' dbias.

// Any shape, f32 arithmetic.
template <class T>
void conv2d_backward_weight_tiled(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream);

// Its part for up to kThinChannels output channels.
inline constexpr int kThinChannels = 4;
template <class T>
void conv2d_backward_weight_thin(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream);

// Tensor cores: whole 16-byte vectors of channels everywhere.
void conv2d_backward_weight_mma(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream);
inline bool conv2d_backward_weight_mma_supports(const BasicConv2dBackwardWeightArgs<bf16>& args) {
  return (args.shape.c0 | args.shape.c1 | args.shape.k) % kVector<bf16> == 0 &&
         aligned16(args.x0) && aligned16(args.x1) && aligned16(args.dy);
}

// The same on Hopper's, stride 1: images of which a few rows fit into shared memory. It pays on a
// device that has them, but for small enlarged images (predicted for an H100:
// bench/results/predicted/h100_training.md).
bool weight_wgmma_pays(const ConvShape& shape);
bool conv2d_backward_weight_wgmma_supports(const BasicConv2dBackwardWeightArgs<bf16>& args);
void conv2d_backward_weight_wgmma(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
