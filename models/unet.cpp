#include "models/unet.h"

#include <algorithm>

#include "autograd/dispatch.h"
#include "models/whole_network.h"

namespace diffscm {
namespace {

// guided-diffusion's name and shape for its one kind of condition, a class.
const char* embedding_name(std::span<const Condition> conditions) {
  return conditions.size() == 1 && conditions[0].is_category() ? "label_emb.weight"
                                                               : "condition_emb.weight";
}

// Every image [H,W,C] of x, f32, by half a turn.
Variable half_turn(const Variable& x) {
  const int64_t images = x.dim(0), pixels = x.dim(1) * x.dim(2), channels = x.dim(3);
  const Target target = x.value().target();
  const std::string key = fmt::format("{} images of {} pixels turned", images, pixels);
  const Tensor rows = Tensor::constant({1}, 0, target).derived(key, [&] {
    std::vector<int64_t> from;
    for (int64_t image = 0; image < images; ++image)
      for (int64_t i = pixels; i-- > 0;) from.push_back(image * pixels + i);
    return Tensor::from(from, {images * pixels}, target);
  });
  const auto turn = [=](const Tensor& from) {
    Tensor to(from.shape(), target);
    operators(target).gather_rows({images * pixels, channels, images * pixels, from.data(),
                                   rows.data_i64(), to.mutable_data()});
    return to;
  };
  return Variable::result(turn(x.value()), {x}, [turn](const Tensor& dy, GradientSink& sink) {
    if (sink.wants(0)) sink.add(0, turn(dy));
  });
}

}  // namespace

void teach_conditions(NamedTensors& state, std::span<const Condition> from,
                      std::span<const Condition> to) {
  Tensor known;
  if (const auto found = state.find(embedding_name(from)); !from.empty() && found != state.end()) {
    known = found->second;
    state.erase(found);
  }
  const auto stem = state.find("time_embed.2.bias");
  if (to.empty() || stem == state.end()) return;
  const int64_t width = stem->second.numel();
  Tensor taught = Tensor::zeros({feature_count(to), width});
  int64_t row = 0;
  for (const Condition& c : to) {
    int64_t from_row = 0;
    for (const Condition& f : from) {
      if (f.name == c.name && known) {
        require(f.classes == c.classes, "the model to start from was told another kind of '{}'",
                c.name);
        std::copy_n(known.data() + from_row * width, c.features() * width,
                    taught.mutable_data() + row * width);
      }
      from_row += f.features();
    }
    row += c.features();
  }
  state.emplace(embedding_name(to), taught);
}

UNet::UNet(const UNetConfig& config, Initializer init) : config_(config), trunk_(config, init) {
  std::vector<int64_t> skips = trunk_.channels();
  int64_t channels = skips.back();
  for (int64_t level = config.levels() - 1; level >= 0; --level) {
    for (int64_t i = 0; i <= config.num_res_blocks; ++i) {
      Stage& stage =
          output_blocks_.emplace_back(level_stage(config, level, channels + skips.back(), init));
      skips.pop_back();
      channels = config.channels_at(level);
      if (level == 0 || i < config.num_res_blocks) continue;
      if (config.resblock_updown)
        stage.last.emplace(channels, channels, config.block_options(), Resample::up, init);
      else
        stage.upsample.emplace(channels, channels, 3, init, Conv2dOptions{.upsample = true});
    }
  }
  out_norm_ = GroupNorm(channels, config.norm_groups, config.norm_eps);
  out_conv_ = Conv2d(channels, config.out_channels, 3, init, {}, /*zero=*/true);
  if (!config.conditions.empty())
    condition_embed_ = {
        init.normal({4 * config.model_channels, feature_count(config.conditions)}, 1),
        FileLayout::transposed};
}

Variable UNet::embed_features(const Variable& x, const Tensor& t, const Tensor& features) const {
  require(x.value().rank() == 4 && x.dim(3) == config_.in_channels,
          "this U-Net expects images [N,H,W,{}], got {}", config_.in_channels,
          to_string(x.shape()));
  const int64_t multiple = int64_t{1} << (config_.channel_mult.size() - 1);
  require(x.dim(1) % multiple == 0 && x.dim(2) % multiple == 0,
          "this U-Net needs image sides that are multiples of {}, got {}x{}", multiple, x.dim(1),
          x.dim(2));
  require(t.numel() == x.dim(0), "{} timesteps for {} images", t.numel(), x.dim(0));

  if (!features) return {};
  require(!config_.conditions.empty(), "this U-Net is unconditional: it cannot be told anything");
  require(features.rank() == 2 && features.dim(0) == x.dim(0) &&
              features.dim(1) == feature_count(config_.conditions),
          "this U-Net expects condition features [{},{}], got {}", x.dim(0),
          feature_count(config_.conditions), to_string(features.shape()));
  return linear(features, condition_embed_.variable, {});
}

Variable UNet::body(const Variable& x, const Tensor& t, const Variable& features,
                    ForwardContext& context) const {
  std::vector<const Linear*> projections;
  trunk_.list_projections(projections);
  for (const Stage& stage : output_blocks_) stage.list_projections(projections);
  const std::vector<Variable> blocks_told = trunk_.time_embedding().tell(t, features, projections);
  std::span<const Variable> blocks_left = blocks_told;
  std::vector<Variable> skips;
  Variable h = trunk_.forward(config_.turned ? half_turn(x) : x, blocks_left, layers_, context,
                              [&](const Variable& result) { skips.push_back(result); });
  for (const Stage& stage : output_blocks_) {
    const Variable skip = std::move(skips.back());
    skips.pop_back();
    h = stage.forward(h, skip, blocks_left, context);
  }
  return out_norm_.forward(h, {}, {}, /*silu=*/true);
}

Tensor UNet::whole(const Tensor& x, const Tensor& t, const Tensor& features) const {
  std::map<std::string, Tensor> parameters;
  const auto take = [&](const std::string& name, Parameter& p) {
    parameters[name] = p.variable.value();
  };
  const_cast<UNet*>(this)->visit(take);  // which shows them and changes nothing
  return whole_network_eps(config_, parameters, x, [&](const auto& layers) {
    run(x.target(), trunk_.time_embedding().projections(t, features, layers));
  });
}

// The last convolution, of output channels [begin, end) only.
Variable UNet::project(const Variable& h, int64_t begin, int64_t end) const {
  const Variable out = end - begin == config_.out_channels
                           ? out_conv_.forward_as(Dtype::f32, h)
                           : conv2d(h, {}, slice(out_conv_.weight.variable, begin, end),
                                    slice(out_conv_.bias.variable, begin, end), {}, {}, Dtype::f32);
  return config_.turned ? half_turn(out) : out;
}

Variable UNet::forward(const Variable& x, const Tensor& t, ForwardContext& context,
                       const Tensor& features) const {
  const Variable embedded = embed_features(x, t, features);
  const auto layers = [&] {
    return project(body(x, t, embedded, context), 0, config_.in_channels);
  };
  if (layers_ == Dtype::bf16 && !recording() && !context.training &&
      whole_network_wanted(x.value().target()))
    if (const Tensor eps = whole(x.value(), t, embedded.value())) {
      check_first_whole_network(config_, eps, [&] { return layers().value(); });
      return Variable(eps);
    }
  return layers();
}

UNet::Estimates UNet::estimates(const Variable& x, const Tensor& t, ForwardContext& context,
                                const Tensor& features) const {
  const Variable h = body(x, t, embed_features(x, t, features), context);
  Estimates out{project(h, 0, config_.in_channels), {}};
  if (config_.learns_variance()) out.v = project(h, config_.in_channels, config_.out_channels);
  return out;
}

UNet::Outputs UNet::outputs(const Tensor& x, const Tensor& t, const Tensor& features) const {
  const NoGrad no_grad;
  ForwardContext context;
  const Estimates both = estimates(x, t, context, features);
  return {both.eps.value(), both.v.value()};
}

Tensor UNet::predict(const Tensor& x, const Tensor& t, const Tensor& features) const {
  const NoGrad no_grad;
  ForwardContext context;
  return forward(x, t, context, features).value();
}

Tensor UNet::predict(const Tensor& x, double t) const {
  require(x.rank() > 0, "this U-Net expects images [N,H,W,C], got {}", to_string(x.shape()));
  return predict(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()));
}

void UNet::visit(const ParameterVisitor& visitor) {
  trunk_.visit_embedding(visitor);
  if (!config_.conditions.empty()) visitor(embedding_name(config_.conditions), condition_embed_);
  trunk_.visit_blocks(visitor);
  for (size_t i = 0; i < output_blocks_.size(); ++i)
    output_blocks_[i].visit(fmt::format("output_blocks.{}", i), visitor);
  out_norm_.visit("out.0", visitor);
  out_conv_.visit("out.2", visitor);
}

}  // namespace diffscm
