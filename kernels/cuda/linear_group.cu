// Several linear layers of one input, forward and backward: the tiles of all layers' products are
// numbered one after the other and dealt to one launch. A tile (register_tile.h) lies within one
// layer; its block looks the layer up in a table that comes with the launch's parameters.
//
//   forward          y_l [M, out] = x W_l^T + b_l
//   weight gradient  dW_l [out, K] = dy_l^T x, and db_l as one more column: x with ones behind it
//   input gradient   dx [M, K] = sum_l dy_l W_l: a product per layer, added in the layers' order
#include <algorithm>

#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/register_tile.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kLayersMost = 32;  // of a launch

// A launch's layers. Those before `first_tile[l + 1]` and not before `first_tile[l]` are layer l's.
template <class Layer>
struct Group {
  int64_t m, k;
  const float* x;
  float* products;  // [count][M, K], of the input gradient
  int count;
  unsigned first_tile[kLayersMost + 1];
  Layer layers[kLayersMost];

  __device__ int layer_of(unsigned tile) const {
    int l = 0;
    while (tile >= first_tile[l + 1]) ++l;
    return l;
  }
};

// Element (outer, inner) of an operand, and the three behind it along the index that is contiguous.
__device__ inline Vector<float, 4> fetch(const float* data, bool along_inner, int64_t outer,
                                         int64_t outers, int64_t inner, int64_t inners) {
  const int64_t ld = along_inner ? inners : outers;
  const int64_t slow = along_inner ? outer : inner, fast = along_inner ? inner : outer;
  const bool inside = outer < outers && inner < inners;
  const bool vectored = ld % 4 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  return load_four(data + slow * ld + fast, inside ? ld - fast : 0, vectored);
}

// write(row, column, sum) for the elements of tile number `tile` of
// c[row, column] = sum_i a(row, i) b(column, i), i < inners, c being `columns` wide.
template <int kTile, class A, class B, class Write>
__device__ inline void multiply_tile(unsigned tile, int64_t columns, int64_t inners, bool a_along,
                                     A a, bool b_along, B b, Write write) {
  using Tile = RegisterTile<kTile>;
  auto& shared = shared_memory<typename Tile::Shared>();
  const auto tiles = static_cast<unsigned>(ceil_div(columns, kTile));
  const int64_t row0 = int64_t{tile / tiles} * kTile, column0 = int64_t{tile % tiles} * kTile;
  Tile sums;
  const typename Tile::Place place_a(a_along), place_b(b_along);
  sums.accumulate(
      shared, ceil_div(inners, Tile::kStep), place_a,
      [&](int64_t step) { return a(row0 + place_a.outer, step * Tile::kStep + place_a.inner); },
      place_b,
      [&](int64_t step) { return b(column0 + place_b.outer, step * Tile::kStep + place_b.inner); });
  sums.each_run([&](int row, int column, const auto& x) {
#pragma unroll
    for (int i = 0; i < Tile::kWidth; ++i) write(row0 + row, column0 + column + i, x[i]);
  });
}

template <int kTile>
__global__ void __launch_bounds__(kTileThreads)
    linear_group_forward(Group<LinearGroupArgs::Layer> group) {
  follow_previous_kernel();
  const int l = group.layer_of(blockIdx.x);
  const LinearGroupArgs::Layer layer = group.layers[l];
  multiply_tile<kTile>(
      blockIdx.x - group.first_tile[l], layer.out, group.k, true,
      [&](int64_t row, int64_t i) { return fetch(group.x, true, row, group.m, i, group.k); }, true,
      [&](int64_t out, int64_t i) { return fetch(layer.weight, true, out, layer.out, i, group.k); },
      [&](int64_t row, int64_t out, float sum) {
        if (row < group.m && out < layer.out)
          layer.y[row * layer.ldy + out] = layer.bias ? sum + layer.bias[out] : sum;
      });
}

template <int kTile>
__global__ void __launch_bounds__(kTileThreads)
    linear_group_weight_gradients(Group<LinearGroupBackwardArgs::Layer> group) {
  follow_previous_kernel();
  const int l = group.layer_of(blockIdx.x);
  const LinearGroupBackwardArgs::Layer layer = group.layers[l];
  const int64_t k = group.k;
  multiply_tile<kTile>(
      blockIdx.x - group.first_tile[l], k + 1, group.m, false,
      [&](int64_t out, int64_t i) { return fetch(layer.dy, false, out, layer.out, i, group.m); },
      false,
      [&](int64_t column, int64_t i) {
        auto x = fetch(group.x, false, column, k, i, group.m);
        if (column <= k && k < column + 4 && i < group.m) x[static_cast<int>(k - column)] = 1;
        return x;
      },
      [&](int64_t out, int64_t column, float sum) {
        if (out >= layer.out) return;
        if (column < k && layer.dweight) layer.dweight[out * k + column] = sum;
        if (column == k && layer.dbias) layer.dbias[out] = sum;
      });
}

template <int kTile>
__global__ void __launch_bounds__(kTileThreads)
    linear_group_input_gradients(Group<LinearGroupBackwardArgs::Layer> group) {
  follow_previous_kernel();
  const int l = group.layer_of(blockIdx.x);
  const LinearGroupBackwardArgs::Layer layer = group.layers[l];
  multiply_tile<kTile>(
      blockIdx.x - group.first_tile[l], group.k, layer.out, true,
      [&](int64_t row, int64_t i) { return fetch(layer.dy, true, row, group.m, i, layer.out); },
      false,
      [&](int64_t column, int64_t i) {
        return fetch(layer.weight, false, column, group.k, i, layer.out);
      },
      [&](int64_t row, int64_t column, float sum) {
        if (row < group.m && column < group.k)
          group.products[(l * group.m + row) * group.k + column] = sum;
      });
}

// Calls run(tile, group, blocks) for up to kLayersMost layers at a time. A layer's product is
// rows(layer) x columns(layer); the tile is 64 or, where those were too few to go round, 32.
template <class Args, class Rows, class Columns, class Run>
void in_groups(const Args& args, float* products, Rows rows, Columns columns, Run run) {
  for (int64_t begin = 0; begin < args.count; begin += kLayersMost) {
    Group<typename Args::Layer> group{
        .m = args.m,
        .k = args.k,
        .x = args.x,
        .products = products ? products + begin * args.m * args.k : nullptr,
        .count = static_cast<int>(std::min<int64_t>(args.count - begin, kLayersMost)),
        .first_tile = {},
        .layers = {}};
    std::copy_n(args.layers + begin, group.count, group.layers);
    const auto number = [&](int64_t tile) {
      for (int l = 0; l < group.count; ++l) {
        const auto& layer = group.layers[l];
        group.first_tile[l + 1] =
            group.first_tile[l] +
            static_cast<unsigned>(ceil_div(rows(layer), tile) * ceil_div(columns(layer), tile));
      }
      return group.first_tile[group.count];
    };
    if (const unsigned blocks = number(64); blocks >= static_cast<unsigned>(multiprocessors()))
      run.template operator()<64>(group, blocks);
    else if (const unsigned smaller = number(32); smaller > 0)
      run.template operator()<32>(group, smaller);
  }
}

}  // namespace

void linear_group(const LinearGroupArgs& args, Stream stream) {
  using Layer = LinearGroupArgs::Layer;
  in_groups(
      args, nullptr, [&](const Layer&) { return args.m; },
      [&](const Layer& layer) { return layer.out; },
      [&]<int kTile>(const Group<Layer>& group, unsigned blocks) {
        launch<linear_group_forward<kTile>>(
            blocks, kTileThreads, sizeof(typename RegisterTile<kTile>::Shared), stream, group);
      });
}

void linear_group_backward(const LinearGroupBackwardArgs& args, Stream stream) {
  using Layer = LinearGroupBackwardArgs::Layer;
  const auto wants = [](const Layer& layer) { return layer.dweight || layer.dbias; };
  if (std::any_of(args.layers, args.layers + args.count, wants))
    in_groups(
        args, nullptr, [&](const Layer& layer) { return wants(layer) ? layer.out : 0; },
        [&](const Layer&) { return args.k + 1; },
        [&]<int kTile>(const Group<Layer>& group, unsigned blocks) {
          launch<linear_group_weight_gradients<kTile>>(
              blocks, kTileThreads, sizeof(typename RegisterTile<kTile>::Shared), stream, group);
        });
  if (!args.dx || args.m * args.k == 0) return;
  float* products =
      args.count == 1
          ? args.dx
          : static_cast<float*>(workspace(
                static_cast<size_t>(args.count * args.m * args.k) * sizeof(float), stream));
  in_groups(
      args, products, [&](const Layer&) { return args.m; }, [&](const Layer&) { return args.k; },
      [&]<int kTile>(const Group<Layer>& group, unsigned blocks) {
        launch<linear_group_input_gradients<kTile>>(
            blocks, kTileThreads, sizeof(typename RegisterTile<kTile>::Shared), stream, group);
      });
  if (products != args.dx)
    sum_slices<float>(products, static_cast<int>(args.count), args.m, args.k, nullptr, nullptr,
                      args.dx, args.k, stream);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
