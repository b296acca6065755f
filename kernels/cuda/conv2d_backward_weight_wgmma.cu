// Weight gradient of the convolution, the rung for Hopper: warpgroup products (device/wgmma.h),
// bf16, stride 1. Compiled for sm_90a; for other architectures the kernel is empty, and never
// launched.
//
// The same product over pixels as conv2d_backward_weight_mma.cu, whose patches are nowhere
// gathered: a block copies some rows of both images to shared memory once, and all taps read them
// there. Of the nine, a product has three by where its blocks of columns begin, and a warpgroup the
// others by where its lanes begin to read: conv2d_weight_cells.h. Per 16 cells a warp does little
// more than one ldmatrix and one wgmma.
//
//   stage s   wait for the copies of s | barrier | first products | start copies of s + ahead |
//             the other products: ldmatrix, wait, wgmma, two at a time
//
// While a warpgroup waits, the others keep the tensor cores busy.
//
// The bias gradient is the sum of A's rows, one mma.sync with ones. In the end sums pass through
// shared memory, where those that belong together are added. One block for each multiprocessor, at
// least, in slices, as in conv2d_backward_weight.h, but fewer where adding them up takes longer
// than they save.
#include <algorithm>
#include <numeric>

#include "kernels/cuda/conv2d_weight_cells.h"
#include "kernels/cuda/device/mma.h"
#include "kernels/cuda/device/shared_limit.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kInner = 16, kAtOnce = 2;  // cells of a product; products of a step
constexpr int kStages = 3, kAhead = kStages - 1;

// What lies before the stages, or before the sums.
template <class P>
struct alignas(kPatternBytes) WeightShared {
  bf16 zeros[8];
  float dy_sums[P::kGroups][64];

  __device__ bf16* cells() { return reinterpret_cast<bf16*>(this + 1); }
  __device__ typename P::Sums& sums() { return *reinterpret_cast<typename P::Sums*>(this + 1); }
};

// A lane's way along A: for ldmatrix, row lane % 8 of matrix lane / 8, which is chunk lane / 8 % 2
// of the warp's two, and its first or second eight cells.
template <class P>
struct LaneOfA {
  int at, column, edge, further;  // numbers from A's first; cell of the row; cells

  __device__ LaneOfA(const typename P::Part& part, int lane, int warp, const CellPicture& picture) {
    const int cell = lane % 8 + lane / 16 * 8, chunk = warp % 4 * 2 + lane / 8 % 2;
    const int read = cell + part.shift;
    at = part.plane * picture.cells_a<P>() * P::kCell + read * P::kCell + (chunk ^ (read & 7)) * 8;
    column = cell % picture.pitch;
    edge = part.shift == 0 ? -1 : part.shift < 0 ? 0 : picture.pitch - 1;
    further = kInner % picture.pitch;
  }
  // The operands of the next products. `a`: numbers from the zeros on.
  __device__ void load(uint32_t (&rows)[kAtOnce][4], const bf16* zeros, int a, int pitch) {
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      ldmatrix_x4_transposed(rows[i], zeros + (column == edge ? 0 : a + at));
      at += kInner * P::kCell;
      column += further;
      if (column >= pitch) column -= pitch;
    }
    at += (P::kShares - 1) * kAtOnce * kInner * P::kCell;
  }
};

template <class P>
struct WeightSums {
  float of_product[P::kColumns / 2] = {}, of_dy[4] = {};

  // Starts products; b is behind theirs afterwards.
  __device__ void start(const uint32_t (&rows)[kAtOnce][4], uint64_t& b, bool sums_dy) {
    constexpr int kFurther = kInner * P::kCell * 2 / 16;
    constexpr uint32_t kOnes = 0x3f803f80;
    if (sums_dy) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) mma_m16n8k16(of_dy, rows[i], {kOnes, kOnes});
    }
    warpgroup_fence();
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      warpgroup_mma<true>(of_product, rows[i], b + static_cast<uint64_t>(i * kFurther));
    warpgroup_commit();
    b += P::kShares * kAtOnce * kFurther;
  }
};

// Adds a stage's products, as many times kAtOnce; meanwhile() runs under the first.
template <class P, class Meanwhile>
__device__ inline void multiply(WeightSums<P>& sums, bool sums_dy, LaneOfA<P> lane,
                                const bf16* zeros, int a, uint64_t b, int pitch, int times,
                                Meanwhile meanwhile) {
  uint32_t rows[kAtOnce][4];
  lane.load(rows, zeros, a, pitch);
  sums.start(rows, b, sums_dy);
  meanwhile();
#pragma unroll 1
  for (int i = 1; i < times; ++i) {
    uint32_t next[kAtOnce][4];
    lane.load(next, zeros, a, pitch);
    warpgroup_wait<0>();
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
#pragma unroll
      for (int k = 0; k < 4; ++k) rows[j][k] = next[j][k];
    sums.start(rows, b, sums_dy);
  }
  warpgroup_wait<0>();
}

// Slice blockIdx.y of tile blockIdx.x, of an enlarged image of its even or odd rows.
template <class P>
__global__ void __launch_bounds__(P::kThreads, 1)
    conv2d_backward_weight_wgmma_kernel(CellPicture picture, float* out, float* dbias) {
  if (kHasWarpgroups) {
    follow_previous_kernel();
    auto& shared = swizzled_shared_memory<WeightShared<P>>();
    const int t = static_cast<int>(threadIdx.x), lane = t % kWarp;
    const int warp = __shfl_sync(kFullMask, t / kWarp, 0), group = warp / 4;
    const int odd = P::kEnlarged ? static_cast<int>(blockIdx.x) % 2 : 0;
    const int tile = static_cast<int>(blockIdx.x) / P::kScale;
    const int k0 = tile / picture.tiles_c * P::kOut, c0 = tile % picture.tiles_c * P::kIn;
    const int pitch = picture.pitch, stage = picture.stage_cells<P>() * P::kCell;
    const int begin = static_cast<int>(blockIdx.y) * picture.slice;
    const int rows = min(picture.slice, picture.rows - begin);
    const int units = (rows + picture.at_once - 1) / picture.at_once;
    // Rows of a stage, in whole steps: what is past the last row is zeros.
    const auto rows_of = [&](int unit) {
      const int left = rows - unit * picture.at_once;
      return min((left + picture.unit - 1) & -picture.unit, picture.at_once);
    };

    if (t < 8) shared.zeros[t] = bf16{0};
    const auto copy = [&](int unit, int to) {
      if (unit < units)
        CellSources<P>(picture, k0, c0, odd)
            .copy(shared.cells() + to * stage, picture, begin + unit * picture.at_once,
                  rows_of(unit), odd);
      async_copy_commit();
    };
    for (int i = 0; i < kAhead; ++i) copy(i, i);

    const auto part = P::part(warp);
    const bool sums_dy = dbias != nullptr && c0 == 0 && part.counts;
    LaneOfA<P> start(part, lane, warp, picture);
    const int share = P::kShares > 1 ? group : 0, step = share * kAtOnce * kInner * P::kCell;
    start.at += step;
    WeightSums<P> sums;
    arrived(sums.of_product);
    const int first_a = static_cast<int>(sizeof(shared) / sizeof(bf16)) +
                        P::kPlanesB * picture.cells_b<P>() * P::kCell;
    int now = 0;
#pragma unroll 1
    for (int unit = 0; unit < units; ++unit) {
      async_copy_wait<kAhead - 1>();
      async_proxy_fence();
      __syncthreads();
      const bf16* const cells = shared.cells() + now * stage;
      const int blocks_apart = (P::kSingle ? picture.cells_b<P>() : pitch) * P::kCell * 2;
      multiply(sums, sums_dy, start, shared.zeros, first_a + now * stage,
               matrix_descriptor(cells + step, blocks_apart), pitch,
               static_cast<unsigned>(rows_of(unit) * pitch) / (kInner * kAtOnce * P::kShares),
               [&] { copy(unit + kAhead, now == 0 ? kStages - 1 : now - 1); });
      now = now + 1 == kStages ? 0 : now + 1;
    }
    warpgroup_wait<0>();
    arrived(sums.of_product);
    async_copy_wait<0>();
    __syncthreads();

    auto& all = shared.sums();
#pragma unroll
    for (int j = 0; j < P::kColumns / 8; ++j) {
      const float* const d = &sums.of_product[4 * j];
      float* const to = &all.at[group][warp % 4 * 16 + lane / 4][8 * j + lane % 4 * 2];
      store_shared(to, Vector<float, 2>{d[0], d[1]});
      store_shared(to + 8 * (P::kColumns + 8), Vector<float, 2>{d[2], d[3]});
    }
    if (sums_dy && lane % 4 == 0) {
      shared.dy_sums[group][warp % 4 * 16 + lane / 4] = sums.of_dy[0];
      shared.dy_sums[group][warp % 4 * 16 + lane / 4 + 8] = sums.of_dy[2];
    }
    __syncthreads();

    const int channels = picture.c0 + picture.c1;
    const int64_t columns = static_cast<int64_t>(P::kTaps) * channels;
    const int64_t slice = blockIdx.y * P::kScale + odd;
    const int64_t first = slice * (picture.k * columns + (dbias ? picture.k : 0));
    constexpr int kFours = P::kIn / 4;
    const int c = t % kFours * 4, outs = c0 + c < channels ? min(P::kOut, picture.k - k0) : 0;
#pragma unroll 1
    for (int k = t / kFours; k < outs; k += P::kThreads / kFours) {
      float* const to = out + first + (k0 + k) * columns + c0 + c;
#pragma unroll
      for (int tap = 0; tap < P::kTaps; ++tap)
        store(to + tap * channels, P::weights(all, k, tap / 3, tap % 3, c, odd));
    }
    if (dbias && c0 == 0 && t < P::kOut && k0 + t < picture.k)
      dbias[first + k0 + t] = P::bias(shared.dy_sums, t);
  }
}

constexpr int kRowsAtOnce = 16;  // at most

// How long a multiprocessor takes, in cycles, if only the tensor cores and the L2 count: 20 bytes
// per cycle and multiprocessor, and 80% of what wgmma could do (kernels/softgpu/predict.cpp).
constexpr int64_t kL2Bytes = 20;
template <class P>
int64_t cycles_of_product() {
  constexpr int64_t kMatrix = P::kGroups / P::kShares * P::kColumns / 2 * 10 / 8;
  constexpr int64_t kBytes = (P::kPlanesA + P::kPlanesB) * kInner * P::kCell * 2;
  return std::max(kMatrix, kBytes / kL2Bytes);
}

struct Slices {
  int64_t count, cycles;
};

// Of the picture's tiles: as many slices as take the shortest, with what a block does once and with
// the second kernel, which a single slice does without.
template <class P>
Slices slices_for(const CellPicture& p) {
  constexpr int64_t kFirstCopies = 2000, kSecondKernel = 2600;
  constexpr int64_t kOnce = kFirstCopies + P::kOut * P::kTaps * P::kIn * 4 / kL2Bytes;
  const int64_t all = multiprocessors(), work = int64_t{p.rows} * p.pitch / kInner;
  const int64_t tiles = p.tiles<P>(), weights = int64_t{p.k} * P::kTaps * (p.c0 + p.c1);
  Slices best{1, 0};
  for (int64_t s = 1; s <= std::max<int64_t>(1, 2 * all / tiles) && s <= ceil_div(p.rows, p.unit);
       ++s) {
    int64_t cycles = ceil_div(tiles * s, all) * (work / s * cycles_of_product<P>() + kOnce);
    if (s * P::kScale > 1) cycles += kSecondKernel + s * P::kScale * weights * 4 / (all * kL2Bytes);
    if (s == 1 || cycles < best.cycles) best = {s, cycles};
  }
  return best;
}

// As many rows of a stage as shared memory holds three times, up to `most`; 0 if that is less than
// a unit.
template <class P>
void set_rows_at_once(CellPicture& p, int most) {
  const int64_t room = static_cast<int64_t>(most_shared_memory() - sizeof(WeightShared<P>));
  for (p.at_once = std::max(most / p.unit, 1) * p.unit; p.at_once > 0; p.at_once -= p.unit)
    if (int64_t{kStages} * p.stage_cells<P>() * P::kCell * 2 <= room) return;
}

// The batch as a picture; at_once is 0 if not even a unit fits three times into shared memory.
template <class P>
CellPicture picture_of(const BasicConv2dBackwardWeightArgs<bf16>& args) {
  const ConvShape& s = args.shape;
  const int h = static_cast<int>(s.h), w = static_cast<int>(s.w), line = h + (P::kSingle ? 0 : 1);
  const int pitch = static_cast<int>(ceil_div(ceil_div(w, P::kPixels), 8)) * 8;
  constexpr int kCells = kAtOnce * kInner * P::kShares;  // of a step of all warpgroups
  CellPicture p{.x0 = args.x0,
                .x1 = args.x1,
                .dy = args.dy,
                .images = static_cast<int>(s.n),
                .h = h,
                .w = w,
                .c0 = static_cast<int>(s.c0),
                .c1 = static_cast<int>(s.c1),
                .k = static_cast<int>(s.k),
                .rows = static_cast<int>(s.n) * line - (line - h),
                .pitch = pitch,
                .unit = kCells / std::gcd(kCells, pitch),
                .at_once = 0,
                .slice = 0,
                .tiles_c = static_cast<int>(ceil_div(s.c(), P::kIn)),
                .side_by_side = std::clamp(P::kThreads / P::kChunks / pitch, 1, line),
                .line = Divisor(line),
                .of_row = Divisor(pitch)};
  set_rows_at_once<P>(p, kRowsAtOnce);
  return p;
}

template <CellForm form>
void run_form(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream) {
  using P = CellProduct<form>;
  CellPicture picture = picture_of<P>(args);
  const int64_t wanted = slices_for<P>(picture).count;
  picture.slice =
      static_cast<int>(ceil_div(ceil_div(picture.rows, wanted), picture.unit)) * picture.unit;
  const int64_t slices = ceil_div(picture.rows, picture.slice);
  // In a short slice smaller stages, so that the copies of some hide behind the products of others.
  set_rows_at_once<P>(picture, std::clamp(picture.slice / 3, kRowsAtOnce / 4, kRowsAtOnce));
  const size_t stages = static_cast<size_t>(kStages * picture.stage_cells<P>() * P::kCell * 2);
  const size_t bytes = sizeof(WeightShared<P>) + std::max(stages, sizeof(typename P::Sums));
  in_partials(args, slices * P::kScale, stream, args.dbias, [&](float* out, float* dbias) {
    const dim3 grid(static_cast<unsigned>(picture.tiles<P>()), static_cast<unsigned>(slices));
    launch<conv2d_backward_weight_wgmma_kernel<P>>(grid, P::kThreads, bytes, stream, picture, out,
                                                   dbias);
  });
}

// Whether tiles of 64 by 64 channels take less time than those of 32 by 32, which are more, read
// images more often and write less.
bool wide_pays(const BasicConv2dBackwardWeightArgs<bf16>& args) {
  using Wide = CellProduct<CellForm::wide>;
  using Pairs = CellProduct<CellForm::pairs>;
  const CellPicture wide = picture_of<Wide>(args);
  return wide.at_once > 0 &&
         slices_for<Wide>(wide).cycles < slices_for<Pairs>(picture_of<Pairs>(args)).cycles;
}

}  // namespace

bool weight_wgmma_pays(const ConvShape& s) {
  constexpr int64_t kEnlargedPixels = 128;  // of each multiprocessor
  return has_wgmma() && (!s.upsample || s.n * s.p() * s.q() >= kEnlargedPixels * multiprocessors());
}

bool conv2d_backward_weight_wgmma_supports(const BasicConv2dBackwardWeightArgs<bf16>& args) {
  const ConvShape& s = args.shape;
  if (!conv2d_backward_weight_mma_supports(args) || !aligned16(args.dweight) || s.stride != 1)
    return false;
  // Pixels are counted in 32 bits.
  if (s.n > (int64_t{1} << 30) / ((s.in_h() + 2) * (s.in_w() + 2))) return false;
  if (s.r == 1) return picture_of<CellProduct<CellForm::single>>(args).at_once > 0;
  if (s.upsample) return picture_of<CellProduct<CellForm::enlarged>>(args).at_once > 0;
  return picture_of<CellProduct<CellForm::pairs>>(args).at_once > 0;  // less than the wide one
}

void conv2d_backward_weight_wgmma(const BasicConv2dBackwardWeightArgs<bf16>& args, Stream stream) {
  require(has_wgmma(),
          "DIFFSCM_CONV=wgmma: this device's compute capability is not 9.0; choose mma");
  const ConvShape& s = args.shape;
  if (s.r == 1) return run_form<CellForm::single>(args, stream);
  if (s.upsample) return run_form<CellForm::enlarged>(args, stream);
  wide_pays(args) ? run_form<CellForm::wide>(args, stream)
                  : run_form<CellForm::pairs>(args, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
