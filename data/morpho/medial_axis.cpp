#include "data/morpho/medial_axis.h"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <numeric>
#include <random>

#include "kernels/error.h"

namespace diffscm::data::morpho {
namespace {

// Farther than any pixel; its square, and a sum of two, still are an int.
constexpr int kFar = 1 << 14;
int squared_of(int distance) {
  return std::min(distance, kFar) * std::min(distance, kFar);
}

constexpr unsigned kCentre = 1u << 4;

// A 3 x 3 neighbourhood is a number of 9 bits, its rows from the top.
int components(unsigned pattern) {
  int count = 0;
  while (pattern != 0) {
    ++count;
    unsigned blob = pattern & -pattern, before = 0;
    while (blob != before) {
      before = blob;
      for (int i = 0; i < 9; ++i)
        for (int j = 0; j < 9; ++j)
          if ((blob >> i & 1) && (pattern >> j & 1) && std::abs(i / 3 - j / 3) <= 1 &&
              std::abs(i % 3 - j % 3) <= 1)
            blob |= 1u << j;
    }
    pattern &= ~blob;
  }
  return count;
}

// Whether the pixel in the middle stays.
std::array<bool, 512> keep_table() {
  std::array<bool, 512> keep{};
  for (unsigned p = 0; p < 512; ++p)
    keep[p] = (p & kCentre) && (std::popcount(p) < 3 || components(p) != components(p & ~kCentre));
  return keep;
}

// permutation(n) of numpy.random.RandomState(0).
std::vector<int> numpy_permutation(int n) {
  std::mt19937 random(0);
  std::vector<int> order(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
  for (int i = n - 1; i >= 1; --i) {
    const uint32_t mask = (1u << std::bit_width(static_cast<unsigned>(i))) - 1;
    uint32_t j = static_cast<uint32_t>(random()) & mask;
    while (j > static_cast<uint32_t>(i)) j = static_cast<uint32_t>(random()) & mask;
    std::swap(order[static_cast<size_t>(i)], order[j]);
  }
  return order;
}

// Where a bounding box of what is set begins and ends.
struct Box {
  int left, right, top, bottom;
};
Box bounds(const Mask& mask) {
  Box box{mask.width, 0, mask.height, 0};
  for (int y = 0; y < mask.height; ++y) {
    const uint8_t *row = mask.row(y), *end = row + mask.width;
    const auto first = std::find(row, end, 1) - row;
    if (first == mask.width) continue;
    const auto last = std::find(std::reverse_iterator(end), std::reverse_iterator(row), 1);
    box.left = std::min(box.left, static_cast<int>(first));
    box.right = std::max(box.right, static_cast<int>(last.base() - row));
    box.top = std::min(box.top, y);
    box.bottom = y + 1;
  }
  return box;
}

// The mask's pixels in the order in which they are taken away. scikit-image's corner scores count
// no neighbour at the edge of the image.
std::vector<int> removal_order(const Mask& mask, const std::vector<int>& squared) {
  const int height = mask.height, width = mask.width;
  std::vector<int> pixels;
  for (int i = 0; i < height * width; ++i)
    if (mask.pixels[static_cast<size_t>(i)]) pixels.push_back(i);
  const auto corner = [&](int i) {
    const int y = i / width, x = i % width;
    int set = 1;
    for (int v = std::max(y - 1, 1); v <= std::min(y + 1, height - 2); ++v)
      for (int u = std::max(x - 1, 1); u <= std::min(x + 1, width - 2); ++u)
        set += (v != y || u != x) && mask.row(v)[u];
    return 9 - set;
  };
  // Sorted by (distance, corner), after they have been laid out by tie-break: one stable counting
  // sort.
  const auto n = static_cast<size_t>(pixels.size());
  const std::vector<int> tie = numpy_permutation(static_cast<int>(n));
  std::vector<int> by_tie(n), key(n);
  int last_key = 0;
  for (size_t k = 0; k < n; ++k) {
    by_tie[static_cast<size_t>(tie[k])] = static_cast<int>(k);
    key[k] = squared[static_cast<size_t>(pixels[k])] * 9 + corner(pixels[k]);
    last_key = std::max(last_key, key[k]);
  }
  std::vector<int> next(static_cast<size_t>(last_key) + 2), order(n);
  for (const int k : key) ++next[static_cast<size_t>(k) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  for (const int k : by_tie)
    order[static_cast<size_t>(next[static_cast<size_t>(key[static_cast<size_t>(k)])]++)] =
        pixels[static_cast<size_t>(k)];
  return order;
}

}  // namespace

std::vector<int> squared_distances(const Mask& mask) {
  const int height = mask.height, width = mask.width;
  require(std::ranges::count(mask.pixels, 0) > 0, "a mask of {} x {} pixels, all set", height,
          width);
  const Box box = bounds(mask);
  // Along columns: to the nearest above, then below. A pixel of the digit touches the box's edge at
  // most, so that all that is beyond is 0 or outside the image.
  std::vector<int> column(mask.pixels.size()), squared(mask.pixels.size());
  const auto at = [&](int y, int x) { return static_cast<size_t>(y * width + x); };
  for (int y = box.top; y < box.bottom; ++y)
    for (int x = box.left; x < box.right; ++x)
      if (mask.row(y)[x]) column[at(y, x)] = y == 0 ? kFar : column[at(y - 1, x)] + 1;
  for (int y = box.bottom - 1; y >= box.top; --y)
    for (int x = box.left; x < box.right; ++x)
      column[at(y, x)] =
          std::min(column[at(y, x)], y == height - 1 ? kFar : column[at(y + 1, x)] + 1);
  // Along rows, outwards until no column can be nearer.
  for (int y = box.top; y < box.bottom; ++y) {
    const int* d = column.data() + at(y, 0);
    for (int x = box.left; x < box.right; ++x) {
      if (!mask.row(y)[x]) continue;
      int best = squared_of(d[x]);
      for (int across = 1; across * across < best && across < width; ++across) {
        if (x >= across) best = std::min(best, squared_of(d[x - across]) + across * across);
        if (x + across < width) best = std::min(best, squared_of(d[x + across]) + across * across);
      }
      squared[at(y, x)] = best;
    }
  }
  return squared;
}

Mask medial_axis(const Mask& mask, const std::vector<int>& squared) {
  static const std::array<bool, 512> keep = keep_table();
  // With a border of zeros, so that every pixel has nine neighbours.
  const int wide = mask.width + 2;
  std::vector<uint8_t> axis(static_cast<size_t>((mask.height + 2) * wide));
  const auto padded_row = [&](int y) { return axis.data() + (y + 1) * wide + 1; };
  for (int y = 0; y < mask.height; ++y) std::copy_n(mask.row(y), mask.width, padded_row(y));
  for (const int i : removal_order(mask, squared)) {
    uint8_t* middle = padded_row(i / mask.width) + i % mask.width;
    unsigned pattern = 0;
    for (int row = 0; row < 3; ++row) {
      const uint8_t* p = middle + (row - 1) * wide;
      pattern |= static_cast<unsigned>(p[-1] | p[0] << 1 | p[1] << 2) << 3 * row;
    }
    *middle = keep[pattern];
  }
  Mask out = mask;
  for (int y = 0; y < mask.height; ++y) std::copy_n(padded_row(y), mask.width, out.row(y));
  return out;
}

}  // namespace diffscm::data::morpho
