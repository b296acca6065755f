#include "models/whole_network_plan.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "kernels/error.h"
#include "models/unet.h"

namespace diffscm {
namespace {

using kernels::WholeNetworkLayer, kernels::WholeNetworkPlane;
constexpr int64_t kPlane = WholeNetworkPlane::kChannels;

// Thrown inside and caught in plan_whole_network: one more reason why not.
struct Unfit {
  std::string why;
};

// First-fit allocation of the arena, from either end. A place is given back when the last of its
// owners goes.
class Arena {
 public:
  explicit Arena(int64_t bytes) : bytes_(bytes) {}

  // Or outside, without any of the arena.
  using Place = std::shared_ptr<const int32_t>;
  // The lowest place, or the highest.
  Place take(int64_t bytes, bool high) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const int64_t at = high ? highest(bytes) : lowest(bytes);
    if (at < 0 || at + bytes > bytes_)
      throw Unfit{fmt::format("its activations need more than {} bytes of shared memory", bytes_)};
    taken_[at] = at + bytes;
    most_ = std::max(most_, at + bytes);
    return Place(new int32_t(static_cast<int32_t>(at)), [this](const int32_t* place) {
      taken_.erase(*place);
      delete place;
    });
  }
  int64_t most() const { return most_; }

 private:
  static constexpr int64_t kAlignment = 128;

  int64_t lowest(int64_t bytes) const {
    int64_t at = 0;
    for (const auto& [begin, end] : taken_) {
      if (begin - at >= bytes) break;
      at = end;
    }
    return at;
  }
  // Below 0: there is none.
  int64_t highest(int64_t bytes) const {
    int64_t at = bytes_ / kAlignment * kAlignment - bytes;
    for (auto taken = taken_.rbegin(); taken != taken_.rend() && taken->second > at; ++taken)
      at = taken->first - bytes;
    return at;
  }

  int64_t bytes_, most_ = 0;
  std::map<int64_t, int64_t> taken_;  // begin, end
};

struct Image {
  int64_t side = 0;
  std::vector<Arena::Place> planes;

  int64_t channels() const { return kPlane * std::ssize(planes); }
  int64_t plane_bytes() const { return WholeNetworkPlane{static_cast<int32_t>(side)}.bytes(); }
};

void fill(std::span<int32_t> to, const std::vector<Arena::Place>& planes) {
  if (planes.size() > to.size())
    throw Unfit{fmt::format("a layer reads or writes {} channels", kPlane * std::ssize(planes))};
  for (size_t i = 0; i < planes.size(); ++i) to[i] = *planes[i];
}

class Planner {
 public:
  // The first `outside` skip connections wait in device memory.
  Planner(const UNetConfig& config, const WholeNetworkLimits& limits, int outside)
      : config_(config), limits_(limits), outside_(outside), arena_(limits.arena_bytes) {}

  WholeNetworkPlan plan() {
    Image h = stem();
    keep(h);
    int64_t block = 1;
    for (int64_t level = 0; level < config_.levels(); ++level) {
      for (int64_t i = 0; i < config_.num_res_blocks; ++i) {
        h = stage(fmt::format("input_blocks.{}", block++), level, std::move(h), {});
        keep(h);
      }
      if (level + 1 == config_.levels()) break;
      h = halved(fmt::format("input_blocks.{}.0.op", block++), std::move(h));
      keep(h);
    }
    const int64_t deepest = config_.levels() - 1;
    h = residual("middle_block.0", config_.channels_at(deepest), std::move(h), {});
    h = attention("middle_block.1", std::move(h));
    h = residual("middle_block.2", config_.channels_at(deepest), std::move(h), {});
    block = 0;
    for (int64_t level = deepest; level >= 0; --level) {
      for (int64_t i = 0; i <= config_.num_res_blocks; ++i) {
        const std::string name = fmt::format("output_blocks.{}", block++);
        h = stage(name, level, std::move(h), kept());
        if (level > 0 && i == config_.num_res_blocks)
          h = doubled(fmt::format("{}.{}.conv", name, config_.attends_at(level) ? 2 : 1),
                      std::move(h));
      }
    }
    last(std::move(h));
    plan_.arena_bytes = arena_.most();
    return std::move(plan_);
  }

 private:
  // Large planes below, small ones above: so that gaps of small ones do not part the large.
  Arena::Place take_plane(const Image& image) {
    return arena_.take(image.plane_bytes(), image.side < config_.image_size);
  }
  Image take(int64_t side, int64_t channels) {
    if (channels % kPlane != 0)
      throw Unfit{fmt::format("it has {} channels, no multiple of {}", channels, kPlane)};
    Image image{side, {}};
    for (int64_t i = 0; i < channels / kPlane; ++i) image.planes.push_back(take_plane(image));
    return image;
  }

  PlannedLayer& add(WholeNetworkLayer::Kind kind, const Image& from) {
    PlannedLayer& planned = plan_.layers.emplace_back();
    WholeNetworkLayer& l = planned.layer;
    l = {};
    l.kind = kind;
    l.side = static_cast<int32_t>(from.side);
    l.inverse = WholeNetworkPlane::inverse_of(WholeNetworkPlane{l.side}.pitch());
    l.planes = l.at_once = static_cast<int32_t>(from.planes.size());
    fill(l.in, from.planes);
    fill(l.read, from.planes);
    l.eps = static_cast<float>(config_.norm_eps);
    l.scale_shift = l.told_bias = WholeNetworkLayer::kNone;
    return planned;
  }
  int32_t groups_of(int64_t channels) const {
    if (channels % config_.norm_groups != 0)
      throw Unfit{fmt::format("{} channels in {} groups", channels, config_.norm_groups)};
    return static_cast<int32_t>(config_.norm_groups);
  }

  // Group norm of the input on its way to `to`, all planes at once or one after the other.
  void add_norm(PlannedLayer& planned, const std::string& name, const std::vector<Arena::Place>& to,
                bool silu) {
    WholeNetworkLayer& l = planned.layer;
    planned.norm = name;
    l.groups = groups_of(l.planes * kPlane);
    l.silu = silu;
    l.at_once = static_cast<int32_t>(to.size());
    for (int32_t i = 0; i < l.planes; ++i) l.read[i] = *to[static_cast<size_t>(i) % to.size()];
  }

  // A convolution to `to`, whose side decides between plain and halving.
  PlannedLayer& convolution(const std::string& name, int filter, const Image& from,
                            const std::vector<Arena::Place>& to, int64_t to_side,
                            int64_t first_out = 0) {
    PlannedLayer& planned = add(WholeNetworkLayer::Kind::convolution, from);
    planned.weight = {.name = name, .first_out = first_out};
    WholeNetworkLayer& l = planned.layer;
    l.taps_side = filter;
    l.tap_y = l.tap_x = -(filter / 2);
    l.stride = static_cast<int32_t>(from.side / to_side);
    l.out_side = static_cast<int32_t>(to_side);
    l.out_planes = static_cast<int32_t>(to.size());
    l.out_step = 1;
    fill(l.out, to);
    require_tiles(l);
    return planned;
  }
  void require_tiles(const WholeNetworkLayer& l) const {
    if (WholeNetworkPlane{l.side}.tiles() > limits_.most_tiles[l.out_planes - 1])
      throw Unfit{fmt::format("a layer makes {} channels of {}x{} pixels", kPlane * l.out_planes,
                              l.side, l.side)};
  }
  // A 1x1 convolution of `from` joins the sums; without a name the planes themselves do.
  void add_shortcut(PlannedLayer& planned, const std::string& name, const Image& from) {
    planned.shortcut.name = name;
    if (name.empty()) planned.shortcut.use = PlannedWeight::Use::identity;
    WholeNetworkLayer& l = planned.layer;
    l.shortcuts = static_cast<int32_t>(from.planes.size());
    fill(l.shortcut, from.planes);
    l.restored = l.out[0];
  }

  Image stem() {
    const int32_t channels = static_cast<int32_t>(config_.in_channels);
    Image h = take(config_.image_size, config_.channels_at(0));
    const Image seen = take(config_.image_size, kPlane * kernels::unfolded_planes(channels));
    PlannedLayer& unfold = add(WholeNetworkLayer::Kind::unfold, seen);
    unfold.layer.image_channels = channels;
    PlannedLayer& planned = convolution("input_blocks.0.0", 1, seen, h.planes, h.side);
    planned.weight.use = PlannedWeight::Use::unfolded;
    return h;
  }

  void last(Image h) {
    PlannedLayer& planned = add(WholeNetworkLayer::Kind::last, h);
    planned.weight = {.name = "out.2", .use = PlannedWeight::Use::last};
    WholeNetworkLayer& l = planned.layer;
    l.image_channels = static_cast<int32_t>(config_.in_channels);
    l.taps_side = 3;
    l.tap_y = l.tap_x = -1;
    const Image normalised = take(h.side, kPlane);
    add_norm(planned, "out.0", normalised.planes, true);
  }

  Image stage(const std::string& name, int64_t level, Image x, Image skip) {
    Image h = residual(name + ".0", config_.channels_at(level), std::move(x), std::move(skip));
    return config_.attends_at(level) ? attention(name + ".1", std::move(h)) : h;
  }

  // The norm's result takes the place where the first convolution's output will be, which the
  // second convolution then does not leave.
  Image residual(const std::string& name, int64_t channels, Image x, Image skip) {
    x.planes.insert(x.planes.end(), skip.planes.begin(), skip.planes.end());
    skip = {};
    Image h = take(x.side, channels);
    std::vector<Arena::Place> normalised = h.planes;
    constexpr int64_t kSmall = 64 << 10;
    if (std::ssize(x.planes) * x.plane_bytes() <= kSmall)
      while (normalised.size() < x.planes.size()) normalised.push_back(take_plane(x));
    normalised.resize(std::min(normalised.size(), x.planes.size()));

    PlannedLayer& first = convolution(name + ".in_layers.2", 3, x, h.planes, x.side);
    add_norm(first, name + ".in_layers.0", normalised, true);
    const int64_t told = tell(name, config_.scale_shift ? 2 * channels : channels);
    (config_.scale_shift ? first.layer.scale_shift : first.layer.told_bias) =
        static_cast<int32_t>(told);
    first.out_norm = name + ".out_layers.0";
    first.layer.out_groups = groups_of(channels);
    normalised.clear();

    PlannedLayer& second = convolution(name + ".out_layers.3", 3, h, h.planes, x.side);
    add_shortcut(second, x.channels() == channels ? "" : name + ".skip_connection", x);
    return h;
  }

  int64_t tell(const std::string& name, int64_t columns) {
    plan_.told.push_back({name + ".emb_layers.1", plan_.told_width, columns});
    return std::exchange(plan_.told_width, plan_.told_width + columns);
  }

  Image attention(const std::string& name, Image x) {
    const int64_t heads = config_.heads_of(x.channels());
    const int64_t width = heads > 0 ? x.channels() / heads : 0;
    if (width != 16 && width != 32 && width != 64)
      throw Unfit{fmt::format("an attention head is {} channels wide, not 16, 32 or 64", width)};
    Image h = take(x.side, x.channels());
    {
      const Image qkv = take(x.side, 3 * x.channels());
      for (size_t i = 0; i < qkv.planes.size(); i += WholeNetworkLayer::kMostOutPlanes) {
        const auto begin = qkv.planes.begin() + static_cast<std::ptrdiff_t>(i);
        const auto count =
            std::min<std::ptrdiff_t>(WholeNetworkLayer::kMostOutPlanes, qkv.planes.end() - begin);
        // The norm is made by the first and read by all.
        PlannedLayer& part = convolution(name + ".qkv", 1, i == 0 ? x : h, {begin, begin + count},
                                         x.side, kPlane * static_cast<int64_t>(i));
        if (i == 0) add_norm(part, name + ".norm", h.planes, false);
      }
      PlannedLayer& attend = add(WholeNetworkLayer::Kind::attention, qkv);
      attend.layer.heads = static_cast<int32_t>(heads);
      attend.layer.out_planes = static_cast<int32_t>(h.planes.size());
      fill(attend.layer.out, h.planes);
    }
    add_shortcut(convolution(name + ".proj_out", 1, h, x.planes, x.side), "", x);
    return x;
  }

  Image halved(const std::string& name, Image x) {
    Image h = take(x.side / 2, x.channels());
    convolution(name, 3, x, h.planes, h.side);
    return h;
  }

  // An enlarged image's rows of one parity read two rows of the small one: four small convolutions.
  Image doubled(const std::string& name, Image x) {
    Image h = take(2 * x.side, x.channels());
    for (int phase = 0; phase < 4; ++phase) {
      PlannedLayer& planned = convolution(name, 1, x, h.planes, x.side);
      planned.weight.use = PlannedWeight::Use::phase;
      planned.weight.phase = phase;
      WholeNetworkLayer& l = planned.layer;
      l.taps_side = 2;
      l.tap_y = phase / 2 - 1;
      l.tap_x = phase % 2 - 1;
      l.out_side = static_cast<int32_t>(h.side);
      l.out_step = 2;
      l.joins = phase > 0;
      l.out_y = phase / 2;
      l.out_x = phase % 2;
    }
    return h;
  }

  void keep(Image h) {
    if (outside_ > 0) {
      --outside_;
      add(WholeNetworkLayer::Kind::save, h).layer.saved = static_cast<int32_t>(plan_.saved_bytes);
      for (Arena::Place& place : h.planes) {
        place = std::make_shared<const int32_t>(~static_cast<int32_t>(plan_.saved_bytes));
        plan_.saved_bytes += h.plane_bytes();
      }
    }
    skips_.push_back(std::move(h));
  }
  Image kept() {
    Image skip = std::move(skips_.back());
    skips_.pop_back();
    return skip;
  }

  const UNetConfig& config_;
  const WholeNetworkLimits& limits_;
  int outside_;
  WholeNetworkPlan plan_;
  Arena arena_;
  std::vector<Image> skips_;
};

std::string unfit_option(const UNetConfig& config) {
  if (config.in_channels > 4) return fmt::format("images of {} channels", config.in_channels);
  if (config.learns_variance()) return "it learns the variance";
  if (config.turned) return "it sees images turned";
  if (config.resblock_updown) return "residual blocks halve and double its images";
  const int64_t halvings = config.levels() - 1;
  if (config.image_size % (int64_t{1} << halvings) != 0)
    return fmt::format("images of {}x{}", config.image_size, config.image_size);
  return "";
}

}  // namespace

WholeNetworkPlan plan_whole_network(const UNetConfig& config, const WholeNetworkLimits& limits) {
  WholeNetworkPlan unfit{.unfit = unfit_option(config)};
  if (!unfit.unfit.empty()) return unfit;
  // Skip connections that do not fit beside the rest wait outside, the first, largest ones first.
  const auto skips = static_cast<int>(config.levels() * (config.num_res_blocks + 1));
  for (int outside = 0; outside <= skips; ++outside) {
    try {
      return Planner(config, limits, outside).plan();
    } catch (const Unfit& e) {
      unfit.unfit = e.why;
    }
  }
  return unfit;
}

}  // namespace diffscm
