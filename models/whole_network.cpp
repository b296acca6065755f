#include "models/whole_network.h"

#include <cstdio>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <vector>

#include "autograd/dispatch.h"
#include "engine/environment.h"
#include "engine/memory.h"
#include "engine/whole_network.h"
#include "kernels/agreement.h"
#include "models/unet.h"

namespace diffscm {
namespace {

using kernels::WholeNetworkLayer, kernels::WholeNetworkPlane, kernels::WholeNetworkStage;
using Parameters = std::map<std::string, Tensor>;

const Tensor& find(const Parameters& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  require(found != parameters.end(), "a plan names a parameter '{}' that the network has not",
          name);
  return found->second;
}

// Made once for each contents of the weight. weight: [K,R,S,C] or [K,C]; of the identity any.
const kernels::bf16* packed(const Tensor& weight, const PlannedWeight& planned, int64_t planes,
                            int64_t columns) {
  using Use = PlannedWeight::Use;
  const std::string key =
      fmt::format("whole network: {} planes, {} columns from {}, use {}, phase {}", planes, columns,
                  planned.first_out, static_cast<int>(planned.use), planned.phase);
  return weight
      .derived(key,
               [&] {
                 const int64_t k = weight.dim(0), c = weight.dim(-1);
                 kernels::WholeNetworkPackArgs args{.use = planned.use,
                                                    .phase = planned.phase,
                                                    .k = k,
                                                    .filter = weight.numel() == k * c ? 1 : 3,
                                                    .c = c,
                                                    .planes = planes,
                                                    .first_out = planned.first_out,
                                                    .columns = columns,
                                                    .weight = weight.data(),
                                                    .packed = nullptr};
                 if (planned.use == Use::identity) {
                   args.k = args.c = WholeNetworkPlane::kChannels * planes;
                   args.filter = 1;
                   args.weight = nullptr;
                 }
                 Tensor result({args.numel()}, weight.target(), Dtype::bf16);
                 args.packed = result.mutable_data<kernels::bf16>();
                 check(args);
                 whole_network(weight.target())->pack(args, {});
                 return result;
               })
      .data<kernels::bf16>();
}

// The stages of one round of a layer: `units` of a packed weight, from `weights` on.
void add_round(std::vector<WholeNetworkStage>& stages, const kernels::bf16*& weights, int64_t units,
               int columns) {
  const int64_t at_once = WholeNetworkStage::units_of(columns);
  const int64_t bytes = WholeNetworkStage::unit_bytes(columns);
  for (; units > 0; units -= at_once) {
    const int64_t now = std::min(units, at_once);
    stages.push_back({weights, static_cast<int32_t>(now * bytes), 0});
    weights += now * bytes / int64_t{sizeof(kernels::bf16)};
  }
}

// In the order in which the kernel takes them.
void add_stages(std::vector<WholeNetworkStage>& stages, const WholeNetworkLayer& l,
                const kernels::bf16* weights, const kernels::bf16* of_shortcut) {
  for (int32_t plane = 0; plane < l.planes; plane += l.at_once)
    add_round(stages, weights, std::min(l.at_once, l.planes - plane) * l.taps(), l.columns());
  const auto inside =
      std::count_if(l.shortcut, l.shortcut + l.shortcuts, [](int32_t place) { return place >= 0; });
  add_round(stages, of_shortcut, inside, l.columns());
  for (auto outside = inside; outside < l.shortcuts; ++outside)
    add_round(stages, of_shortcut, 1, l.columns());
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
    if (!planned.out_norm.empty()) {
      l.out_gamma = numbers(planned.out_norm + ".weight");
      l.out_beta = numbers(planned.out_norm + ".bias");
    }
    if (planned.weight.name.empty()) continue;
    l.bias = numbers(planned.weight.name + ".bias") + planned.weight.first_out;
    const Tensor& weight = find(parameters, planned.weight.name + ".weight");
    const kernels::bf16* of_shortcut = nullptr;
    if (l.shortcuts > 0) {
      const std::string& name = planned.shortcut.name;
      if (!name.empty()) l.shortcut_bias = numbers(name + ".bias");
      of_shortcut = packed(name.empty() ? weight : find(parameters, name + ".weight"),
                           planned.shortcut, l.shortcuts, l.columns());
    }
    add_stages(stages, l, packed(weight, planned.weight, l.planes, l.columns()), of_shortcut);
  }
  // Neither has padding that would differ without meaning anything.
  static_assert(sizeof(WholeNetworkLayer) == 6 * 8 + 46 * 4 && sizeof(WholeNetworkStage) == 16);
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
Tensor told_by(const Tell& tell, const WholeNetworkPlan& plan, const Parameters& parameters,
               int64_t n, Target target) {
  Tensor told({n, plan.told_width}, target);
  std::vector<kernels::LinearGroupArgs::Layer> layers;
  for (const PlannedTold& part : plan.told)
    layers.push_back({.out = part.columns,
                      .weight = find(parameters, part.name + ".weight").data(),
                      .bias = find(parameters, part.name + ".bias").data(),
                      .y = told.mutable_data() + part.first,
                      .ldy = plan.told_width});
  tell(layers);
  return told;
}

// Says once for each reason that the layers are computed one by one, which is no error.
Tensor not_so(const std::string& why) {
  if (environment("DIFFSCM_UNET").empty()) return {};
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
  if (kernel != nullptr && kernel->usable())
    return plan_whole_network(
        config, {kernel->arena_bytes(), {kernel->most_tiles(1), kernel->most_tiles(2)}});
  WholeNetworkPlan none;
  none.unfit = fmt::format("target {} has no kernel for it{}", name_of(target),
                           kernel != nullptr ? " on this device, which needs wgmma" : "");
  return none;
}

}  // namespace

bool whole_network_wanted(Target target) {
  const std::string way = environment("DIFFSCM_UNET");
  require(way.empty() || way == "whole" || way == "layers",
          "DIFFSCM_UNET={}: choose whole or layers", way);
  if (!way.empty()) return way == "whole";
  return target == Target::cuda && environment("DIFFSCM_CONV").empty() &&
         environment("DIFFSCM_GEMM").empty();
}

std::string whole_network_unfit(const UNetConfig& config, Target target) {
  return plan_for(config, target).unfit;
}

Tensor whole_network_eps(const UNetConfig& config, const Parameters& parameters, const Tensor& x,
                         const Tell& tell) {
  const Target target = x.target();
  const WholeNetworkPlan plan = plan_for(config, target);
  if (!plan.unfit.empty()) return not_so(plan.unfit);
  if (x.dim(1) != config.image_size || x.dim(2) != config.image_size)
    return not_so(fmt::format("images of {}x{}", x.dim(1), x.dim(2)));
  const Bound bound = bind(plan, parameters);
  const Tensor list = bound.on_target(find(parameters, "input_blocks.0.0.weight"));
  if (!list) return {};
  const Tensor told = told_by(tell, plan, parameters, x.dim(0), target);
  Tensor y(x.shape(), target);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(list.data<uint32_t>());
  const kernels::WholeNetworkArgs args{
      .n = x.dim(0),
      .side = x.dim(1),
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

void check_whole_network(const Tensor& eps, const Tensor& layers) {
  constexpr double kRounding = 0.2;  // of an image; eight bits for each layer leave about 0.02
  const std::vector<float> whole = eps.to_vector(), usual = layers.to_vector();
  require(whole.size() == usual.size(), "eps {} of a whole network for {}", to_string(eps.shape()),
          to_string(layers.shape()));
  const size_t each = whole.size() / static_cast<size_t>(eps.dim(0));
  for (size_t at = 0; at < whole.size(); at += each) {
    const double apart = kernels::relative_distance(std::span(whole).subspan(at, each),
                                                    std::span(usual).subspan(at, each));
    require(apart < kRounding,
            "on this GPU the kernel of whole networks is {:.2g} off the layers one by one, for "
            "image {} of {}; set DIFFSCM_UNET=layers, and please report it",
            apart, at / each, eps.dim(0));
  }
}

void check_first_whole_network(const UNetConfig& config, const Tensor& eps,
                               const std::function<Tensor()>& layers) {
  // A step that is recorded has been run before.
  if (eps.target() != Target::cuda || (step_scope() != nullptr && step_scope()->recording)) return;
  static std::mutex mutex;
  static std::set<std::string> checked;
  {
    const std::lock_guard lock(mutex);
    if (!checked.insert(nlohmann::json(config).dump()).second) return;
  }
  check_whole_network(eps, layers());
}

}  // namespace diffscm
