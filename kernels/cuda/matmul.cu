// Matrix products: checks the arguments, picks a rung, calls.
//
// bf16 operands whose rows are whole 16-byte vectors go to the tensor cores (matmul_mma.cu),
// everything else to the tiled rung (matmul_tiled.cu).
//
// With DIFFSCM_GEMM=cublas the target cuda sends products to cuBLAS (cublas.h), to compare with.
//
// The weight gradient of a linear layer is a small matrix summed over every token of a batch: a few
// blocks would walk over tens of thousands of rows. Products with a transposed `a`, which only
// weight gradients are, therefore cut k into slices; each slice writes a partial product, and the
// partials are added in order. All other products sum k in one go, so that a row of c has the same
// bits however many rows there are: one image gives the same result in every batch (not under
// cuBLAS, which promises nothing of the kind). The number of slices follows from the shape alone.
#include <algorithm>

#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/table.h"
#ifdef __CUDACC__
#include "kernels/cuda/cublas.h"
#endif

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int64_t kSplitBlocks = 256;  // about two for each multiprocessor of a large GPU
constexpr int64_t kSlicesMax = 64;     // the partials must stay small beside a and b
constexpr int64_t kSliceMin = 128;     // inner indices
constexpr int64_t kSliceUnit = 32;     // a multiple of every rung's step
constexpr int kSumThreads = 256;
constexpr int kSumWays = 8;  // threads that may share an element's slices

Split split_for(int64_t m, int64_t n, int64_t k, bool transpose_a) {
  if (!transpose_a) return {1, k};
  const int64_t wanted = ceil_div(kSplitBlocks, ceil_div(m, 64) * ceil_div(n, 64));
  const int64_t slices = std::clamp<int64_t>(k / kSliceMin, 1, std::min(wanted, kSlicesMax));
  const int64_t length = ceil_div(ceil_div(k, slices), kSliceUnit) * kSliceUnit;
  return length >= k ? Split{1, k} : Split{static_cast<int>(ceil_div(k, length)), length};
}

template <int kWidth>
struct PartialSums {
  Vector<float, kWidth> at[kSumThreads];
};

// A thread adds up `kWidth` neighbouring elements: of every blockDim.y-th slice; those that share
// elements then add their sums in order.
template <int kWidth, class U>
__global__ void __launch_bounds__(kSumThreads)
    sum_partials(const float* partials, int slices, int64_t m, int64_t n, const float* bias,
                 const U* residual, U* c, int64_t ldc, bool vectored_c, float* rest) {
  follow_previous_kernel();
  auto& shared = shared_memory<PartialSums<kWidth>>();
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kWidth;
  const int ways = static_cast<int>(blockDim.y);
  const int64_t elements = rest ? m * n + m : m * n;
  Vector<float, kWidth> sum{};
  if (i < elements) {
#pragma unroll 4
    for (int slice = static_cast<int>(threadIdx.y); slice < slices; slice += ways) {
      const auto x = load<kWidth>(partials + slice * elements + i);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum[j] += x[j];
    }
  }
  if (ways > 1) {
    shared.at[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0) return;
    for (int way = 1; way < ways; ++way) {
      const auto x = load<kWidth>(shared.at[way * blockDim.x + threadIdx.x].v);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum[j] += x[j];
    }
  }
  if (i >= elements) return;
  if (i >= m * n) return store(rest + (i - m * n), sum);
  const int64_t column = i % n, at = i / n * ldc + column;
  write_run(sum.v, column, n, bias, residual ? residual + at : nullptr, c + at, vectored_c);
}

template <class T, class U>
void multiply(const BasicMatmulArgs<T, U>& args, const Split& split, Stream stream) {
  if constexpr (sizeof(T) == sizeof(bf16)) {
    if (matmul_mma_supports(args)) return matmul_mma(args, split, stream);
  }
  matmul_tiled(args, split, stream);
}

}  // namespace

template <class U>
void sum_slices(const float* partials, int slices, int64_t m, int64_t n, const float* bias,
                const U* residual, U* c, int64_t ldc, Stream stream, float* rest) {
  const auto run = [&]<int kWidth>() {
    const bool vectored_c = aligned16(c) && aligned16(residual) && ldc % kWidth == 0;
    // A weight gradient has few elements and many slices: several threads share an element's.
    const int ways = slices >= 2 * kSumWays ? kSumWays : 1;
    const dim3 threads(static_cast<unsigned>(kSumThreads / ways), static_cast<unsigned>(ways));
    const auto blocks =
        static_cast<unsigned>(ceil_div(m * n + (rest ? m : 0), kSumThreads / ways * kWidth));
    launch<sum_partials<kWidth, U>>(blocks, threads, sizeof(PartialSums<kWidth>), stream, partials,
                                    slices, m, n, bias, residual, c, ldc, vectored_c, rest);
  };
  n % 4 == 0 && (!rest || (m % 4 == 0 && aligned16(rest))) ? run.template operator()<4>()
                                                           : run.template operator()<1>();
}
template void sum_slices(const float*, int, int64_t, int64_t, const float*, const float*, float*,
                         int64_t, Stream, float*);
template void sum_slices(const float*, int, int64_t, int64_t, const float*, const bf16*, bf16*,
                         int64_t, Stream, float*);

#ifdef __CUDACC__
// cuBLAS adds a product to what is in c: bias and residual are put there first. Not into a bf16 c,
// where a bias would be rounded before the sum is: the product then comes in f32, and the epilogue
// of the sliced products does the rest.
template <class T, class U>
void multiply_with_cublas(const BasicMatmulArgs<T, U>& args, Stream stream) {
  const auto type = [](size_t size) {
    return size == sizeof(bf16) ? cublas::Type::bf16 : cublas::Type::f32;
  };
  cublas::Product product{.m = args.m,
                          .n = args.n,
                          .k = args.k,
                          .a = args.a,
                          .lda = args.lda,
                          .transpose_a = args.transpose_a,
                          .b = args.b,
                          .ldb = args.ldb,
                          .transpose_b = args.transpose_b,
                          .c = args.c,
                          .ldc = args.ldc,
                          .in = type(sizeof(T)),
                          .out = type(sizeof(U)),
                          .accumulate = args.bias != nullptr || args.residual != nullptr};
  const auto epilogue = [&](const float* products, int count) {
    sum_slices(products, count, args.m, args.n, args.bias, args.residual, args.c, args.ldc, stream);
  };
  if (sizeof(U) == sizeof(bf16) && args.bias) {
    auto* sum = static_cast<float*>(
        workspace(static_cast<size_t>(args.m * args.n) * sizeof(float), stream));
    product.c = sum;
    product.ldc = args.n;
    product.out = cublas::Type::f32;
    product.accumulate = false;
    cublas::multiply(product, stream);
    return epilogue(sum, 1);
  }
  if (args.bias || (args.residual && args.residual != args.c)) epilogue(nullptr, 0);
  cublas::multiply(product, stream);
}
#endif

template <class T, class U>
void run(const BasicMatmulArgs<T, U>& args, Stream stream) {
  const int64_t m = args.m, n = args.n, k = args.k;
  if (m * n == 0) return;

#ifdef __CUDACC__
  if (k > 0 && cublas::chosen()) return multiply_with_cublas(args, stream);
#endif
  const Split split = split_for(m, n, k, args.transpose_a);
  if (split.slices == 1) return multiply(args, split, stream);
  auto* partials = static_cast<float*>(workspace(split.slices * m * n * sizeof(float), stream));
  const BasicMatmulArgs<T, float> parts{m,       n,        k,
                                        args.a,  args.lda, args.transpose_a,
                                        args.b,  args.ldb, args.transpose_b,
                                        nullptr, nullptr,  partials,
                                        n};
  multiply(parts, split, stream);
  sum_slices(partials, split.slices, m, n, args.bias, args.residual, args.c, args.ldc, stream);
}

template <class T>
void matmul(const BasicMatmulArgs<T>& args, Stream stream) {
  run(args, stream);
}
template void matmul(const BasicMatmulArgs<float>&, Stream);
template void matmul(const BasicMatmulArgs<bf16>&, Stream);

void matmul_bf16_f32(const BasicMatmulArgs<bf16, float>& args, Stream stream) {
  run(args, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
