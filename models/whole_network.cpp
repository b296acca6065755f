#include "models/whole_network.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>
#include <vector>

#include "autograd/dispatch.h"
#include "engine/memory.h"
#include "engine/whole_network.h"
#include "models/unet.h"

namespace diffscm {
namespace {

using kernels::WholeNetworkLayer, kernels::WholeNetworkStage;
using Parameters = std::map<std::string, Tensor>;

const Tensor& find(const Parameters& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  require(found != parameters.end(), "a plan names a parameter '{}' that the network has not",
          name);
  return found->second;
}

// Made once for each contents of the weight.
const kernels::bf16* packed(const Parameters& parameters, const PlannedWeight& planned) {
  const Tensor& weight = find(parameters, planned.name + ".weight");  // [K,R,S,C] or [K,C]
  const std::string key = fmt::format("whole network: {} planes from {}, phase {}",
                                      planned.out_planes, planned.first_out, planned.phase);
  return weight
      .derived(key,
               [&] {
                 const int64_t k = weight.dim(0), c = weight.dim(-1);
                 kernels::WholeNetworkPackArgs args{.k = k,
                                                    .filter = weight.numel() == k * c ? 1 : 3,
                                                    .c = c,
                                                    .planes = c / WholeNetworkLayer::kPlaneChannels,
                                                    .first_out = planned.first_out,
                                                    .out_planes = planned.out_planes,
                                                    .phase = planned.phase,
                                                    .weight = weight.data(),
                                                    .packed = nullptr};
                 Tensor result({args.numel()}, weight.target(), Dtype::bf16);
                 args.packed = result.mutable_data<kernels::bf16>();
                 check(args);
                 whole_network(weight.target())->pack(args, {});
                 return result;
               })
      .data<kernels::bf16>();
}

// The stages of `planes` times `taps` of a packed weight.
void add_stages(std::vector<WholeNetworkStage>& stages, const kernels::bf16* weights,
                int64_t planes, int64_t taps, int out_planes) {
  constexpr int64_t kTap = 32 * 32;  // numbers, of a tap of one plane
  const int64_t at_once = WholeNetworkStage::taps_of(out_planes);
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t tap = 0; tap < taps; tap += at_once) {
      const int64_t count = std::min(at_once, taps - tap) * kTap * out_planes;
      stages.push_back({weights, static_cast<int32_t>(count * 2), 0});
      weights += count;
    }
}

// A plan with a network's memory: the list of layers, then that of stages.
struct Bound {
  std::vector<uint32_t> words;
  int64_t stages_at = 0, stage_count = 0;  // stages_at in bytes

  // The words in the target's memory. They are kept with `weight` as long as it does not change, by
  // all that they say: another list, with other addresses, is another one. Empty where a step is
  // recorded that has not been run before: the words come from the host, which is no part of it.
  Tensor on_target(const Tensor& weight) const {
    struct Recorded {};
    try {
      const std::string_view key(reinterpret_cast<const char*>(words.data()), words.size() * 4);
      return weight.derived(fmt::format("whole network {}", key), [&] {
        if (step_scope() != nullptr && step_scope()->recording) throw Recorded();
        return Tensor::from(words, {std::ssize(words)}, weight.target());
      });
    } catch (const Recorded&) {
      return {};
    }
  }
};

Bound bind(const WholeNetworkPlan& plan, const Parameters& parameters) {
  std::vector<WholeNetworkLayer> layers;
  std::vector<WholeNetworkStage> stages;
  const auto numbers = [&](const std::string& name) { return find(parameters, name).data(); };
  for (const PlannedLayer& planned : plan.layers) {
    WholeNetworkLayer& l = layers.emplace_back(planned.layer);
    if (!planned.norm.empty()) {
      l.gamma = numbers(planned.norm + ".weight");
      l.beta = numbers(planned.norm + ".bias");
    }
    if (planned.weight.name.empty()) continue;
    l.bias = numbers(planned.weight.name + ".bias") + planned.weight.first_out;
    if (l.kind != WholeNetworkLayer::Kind::convolution) {
      l.weight = numbers(planned.weight.name + ".weight");
      continue;
    }
    add_stages(stages, packed(parameters, planned.weight), l.planes, l.taps(), l.out_planes);
    if (l.shortcuts == 0) continue;
    l.shortcut_bias = numbers(planned.shortcut.name + ".bias");
    add_stages(stages, packed(parameters, planned.shortcut), l.shortcuts, 1, l.out_planes);
  }
  // Neither has padding that would differ without meaning anything.
  static_assert(sizeof(WholeNetworkLayer) == 5 * 8 + 48 * 4 && sizeof(WholeNetworkStage) == 16);
  const size_t layer_bytes = layers.size() * sizeof(WholeNetworkLayer);
  const size_t stage_bytes = stages.size() * sizeof(WholeNetworkStage);
  const size_t stages_at = (layer_bytes + 15) / 16 * 16;
  Bound bound{std::vector<uint32_t>((stages_at + stage_bytes) / 4), static_cast<int64_t>(stages_at),
              std::ssize(stages)};
  auto* const bytes = reinterpret_cast<unsigned char*>(bound.words.data());
  std::memcpy(bytes, layers.data(), layer_bytes);
  std::memcpy(bytes + stages_at, stages.data(), stage_bytes);
  return bound;
}

// What all residual blocks are told, one row per image.
Tensor tell(const WholeNetworkPlan& plan, const Parameters& parameters, const Tensor& emb) {
  Tensor told({emb.dim(0), plan.told_width}, emb.target());
  std::vector<kernels::LinearGroupArgs::Layer> layers;
  for (const PlannedTold& part : plan.told)
    layers.push_back({.out = part.columns,
                      .weight = find(parameters, part.name + ".weight").data(),
                      .bias = find(parameters, part.name + ".bias").data(),
                      .y = told.mutable_data() + part.first,
                      .ldy = plan.told_width});
  run(emb.target(), kernels::LinearGroupArgs{.m = emb.dim(0),
                                             .k = emb.dim(1),
                                             .x = emb.data(),
                                             .count = std::ssize(layers),
                                             .layers = layers.data()});
  return told;
}

// Says once for each reason that the layers are computed one by one, which is no error.
Tensor not_so(const std::string& why) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(why).second)
    fmt::print(stderr, "DIFFSCM_UNET=whole: this U-Net's layers are computed one by one: {}\n",
               why);
  return {};
}

WholeNetworkPlan plan_for(const UNetConfig& config, Target target) {
  const kernels::WholeNetwork* const kernel = whole_network(target);
  if (kernel != nullptr)
    return plan_whole_network(
        config, {kernel->arena_bytes(), {kernel->most_rows(1), kernel->most_rows(2)}});
  WholeNetworkPlan none;
  none.unfit = fmt::format("target {} has no kernel for it", name_of(target));
  return none;
}

}  // namespace

bool whole_network_wanted() {
  const char* const value = std::getenv("DIFFSCM_UNET");
  const std::string_view way = value == nullptr ? "" : value;
  require(way.empty() || way == "whole" || way == "layers",
          "DIFFSCM_UNET={}: choose whole or layers", way);
  return way == "whole";
}

std::string whole_network_unfit(const UNetConfig& config, Target target) {
  return plan_for(config, target).unfit;
}

Tensor whole_network_eps(const UNetConfig& config, const Parameters& parameters, const Tensor& x,
                         const Tensor& emb) {
  const Target target = x.target();
  const WholeNetworkPlan plan = plan_for(config, target);
  if (!plan.unfit.empty()) return not_so(plan.unfit);
  if (x.dim(1) != config.image_size || x.dim(2) != config.image_size)
    return not_so(fmt::format("images of {}x{}", x.dim(1), x.dim(2)));
  const Bound bound = bind(plan, parameters);
  const Tensor list = bound.on_target(find(parameters, plan.layers[0].weight.name + ".weight"));
  if (!list) return {};
  const Tensor told = tell(plan, parameters, emb);
  Tensor y(x.shape(), target);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(list.data<uint32_t>());
  const kernels::WholeNetworkArgs args{
      .n = x.dim(0),
      .height = x.dim(1),
      .width = x.dim(2),
      .channels = x.dim(3),
      .layers = reinterpret_cast<const WholeNetworkLayer*>(bytes),
      .layer_count = std::ssize(plan.layers),
      .stages = reinterpret_cast<const WholeNetworkStage*>(bytes + bound.stages_at),
      .stage_count = bound.stage_count,
      .x = x.data(),
      .told = told.data(),
      .told_width = plan.told_width,
      .y = y.mutable_data(),
      .arena_bytes = plan.arena_bytes,
      .saved_bytes = plan.saved_bytes};
  check(args);
  whole_network(target)->run(args, {});
  return y;
}

}  // namespace diffscm
