#include "apps/report/layers.h"

#include <algorithm>
#include <numeric>

namespace diffscm::apps {
namespace {

constexpr int kOrderSweeps = 24, kPlaceSweeps = 40;
constexpr double kBendWidth = 10, kStraight = 8;

// The graph with a bend in each layer that an edge passes, so that edges join neighbouring layers.
class Sugiyama {
 public:
  Sugiyama(const LayeredGraph& graph, double gap)
      : gap_(gap), nodes_(graph.widths.size()), widths_(graph.widths) {
    layer_.resize(nodes_);
    for (const auto& [from, to] : graph.edges)  // topological: causes are settled before
      layer_[to] = std::max(layer_[to], layer_[from] + 1);
    pull_causes_down(graph);
    near_.resize(nodes_);
    for (const auto& [from, to] : graph.edges) {
      std::vector<size_t>& chain = chains_.emplace_back();
      size_t last = from;
      for (size_t at = layer_[from] + 1; at < layer_[to]; ++at) {
        const size_t bend = widths_.size();
        widths_.push_back(kBendWidth);
        layer_.push_back(at);
        near_.emplace_back();
        chain.push_back(bend);
        join(last, bend);
        last = bend;
      }
      join(last, to);
    }
    rows_.resize(1 + *std::ranges::max_element(layer_));
    for (size_t v = 0; v < widths_.size(); ++v) rows_[layer_[v]].push_back(v);
    place_.resize(widths_.size());
    remember_places();
  }

  Layout lay_out() {
    order();
    centre();
    Layout layout;
    const size_t n = nodes_;
    layout.layer.assign(layer_.begin(), layer_.begin() + static_cast<std::ptrdiff_t>(n));
    double left = 0, right = 0;
    for (size_t v = 0; v < widths_.size(); ++v) {
      left = std::min(left, x_[v] - widths_[v] / 2);
      right = std::max(right, x_[v] + widths_[v] / 2);
    }
    for (double& x : x_) x -= left;
    layout.centre.assign(x_.begin(), x_.begin() + static_cast<std::ptrdiff_t>(n));
    for (const auto& chain : chains_) {
      layout.bends.emplace_back();
      for (const size_t bend : chain) layout.bends.back().push_back(x_[bend]);
    }
    layout.width = right - left;
    layout.layers = rows_.size();
    return layout;
  }

 private:
  struct Near {
    std::vector<size_t> above, below;
  };

  void join(size_t above, size_t below) {
    near_[above].below.push_back(below);
    near_[below].above.push_back(above);
  }

  // A cause without causes stands just above its first effect.
  void pull_causes_down(const LayeredGraph& graph) {
    std::vector<bool> caused(layer_.size());
    std::vector<size_t> least(layer_.size(), static_cast<size_t>(-1));
    for (const auto& [from, to] : graph.edges) {
      caused[to] = true;
      least[from] = std::min(least[from], layer_[to]);
    }
    for (size_t v = 0; v < layer_.size(); ++v)
      if (!caused[v] && least[v] != static_cast<size_t>(-1)) layer_[v] = least[v] - 1;
  }

  void remember_places() {
    for (const auto& row : rows_)
      for (size_t i = 0; i < row.size(); ++i) place_[row[i]] = i;
  }

  void order() {
    auto best = rows_;
    size_t fewest = crossings();
    for (int sweep = 0; sweep < kOrderSweeps && fewest > 0; ++sweep) {
      const bool down = sweep % 2 == 0;
      for (size_t k = 1; k < rows_.size(); ++k) sort_row(down ? k : rows_.size() - 1 - k, down);
      if (const size_t now = crossings(); now < fewest) {
        fewest = now;
        best = rows_;
      }
    }
    rows_ = std::move(best);
    remember_places();
  }

  void sort_row(size_t k, bool down) {
    auto& row = rows_[k];
    const auto key = [&](size_t v) {
      const auto& others = down ? near_[v].above : near_[v].below;
      if (others.empty()) return static_cast<double>(place_[v]);
      double sum = 0;
      for (const size_t u : others) sum += static_cast<double>(place_[u]);
      // Relative to the rows' lengths, so that nodes without neighbours keep their part of the row.
      const double other_length = static_cast<double>(rows_[down ? k - 1 : k + 1].size());
      return sum / static_cast<double>(others.size()) * static_cast<double>(row.size()) /
             other_length;
    };
    std::ranges::stable_sort(row, {}, key);
    for (size_t i = 0; i < row.size(); ++i) place_[row[i]] = i;
  }

  size_t crossings() const {
    size_t count = 0;
    for (const auto& row : rows_) {
      std::vector<size_t> ends;  // places below, edges in order of their upper end
      for (const size_t v : row) {
        std::vector<size_t> below;
        for (const size_t u : near_[v].below) below.push_back(place_[u]);
        std::ranges::sort(below);
        ends.insert(ends.end(), below.begin(), below.end());
      }
      for (size_t i = 0; i < ends.size(); ++i)
        for (size_t j = 0; j < i; ++j) count += ends[j] > ends[i];
    }
    return count;
  }

  // Each row in turn: as near to the neighbours' mean as order and gaps allow.
  void centre() {
    x_.resize(widths_.size());
    for (const auto& row : rows_) settle(row, std::vector<double>(row.size(), 0));
    for (int sweep = 0; sweep < kPlaceSweeps; ++sweep) {
      const bool down = sweep % 2 == 0;
      for (size_t k = 0; k < rows_.size(); ++k) {
        const auto& row = rows_[down ? k : rows_.size() - 1 - k];
        std::vector<double> wanted;
        for (const size_t v : row) {
          double sum = 0, weight = 0;
          const auto pull = [&](const std::vector<size_t>& others) {
            for (const size_t u : others) {
              // A long edge had rather be straight.
              const double strength = v >= nodes_ && u >= nodes_ ? kStraight : 1;
              sum += strength * x_[u];
              weight += strength;
            }
          };
          const bool last = sweep >= kPlaceSweeps - 4;  // at last, both sides
          if (down || last || near_[v].below.empty()) pull(near_[v].above);
          if (!down || last || near_[v].above.empty()) pull(near_[v].below);
          wanted.push_back(weight > 0 ? sum / weight : x_[v]);
        }
        settle(row, wanted);
      }
    }
  }

  // min sum (x - wanted)^2 with x_i + distance_i <= x_{i+1}: isotonic regression (pool adjacent
  // violators) of wanted - distance so far.
  void settle(const std::vector<size_t>& row, const std::vector<double>& wanted) {
    struct Block {
      double sum;
      size_t count;
      double mean() const { return sum / static_cast<double>(count); }
    };
    std::vector<double> offset(row.size());
    for (size_t i = 1; i < row.size(); ++i) {
      const bool both_bends = row[i] >= nodes_ && row[i - 1] >= nodes_;
      offset[i] = offset[i - 1] + (widths_[row[i - 1]] + widths_[row[i]]) / 2 +
                  (both_bends ? gap_ / 4 : gap_);
    }
    const double middle = row.empty() ? 0 : offset.back() / 2;
    std::vector<Block> blocks;
    for (size_t i = 0; i < row.size(); ++i) {
      blocks.push_back({wanted[i] - (offset[i] - middle), 1});
      while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() > blocks.back().mean()) {
        const Block last = blocks.back();
        blocks.pop_back();
        blocks.back().sum += last.sum;
        blocks.back().count += last.count;
      }
    }
    size_t i = 0;
    for (const Block& block : blocks)
      for (size_t k = 0; k < block.count; ++k, ++i) x_[row[i]] = block.mean() + offset[i] - middle;
  }

  double gap_;
  size_t nodes_;
  std::vector<double> widths_;  // nodes, then bends
  std::vector<size_t> layer_, place_;
  std::vector<Near> near_;
  std::vector<std::vector<size_t>> chains_;  // the bends of each edge
  std::vector<std::vector<size_t>> rows_;
  std::vector<double> x_;
};

}  // namespace

Layout lay_out(const LayeredGraph& graph, double gap) {
  return Sugiyama(graph, gap).lay_out();
}

}  // namespace diffscm::apps
