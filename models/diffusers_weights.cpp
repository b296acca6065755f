#include "models/diffusers_weights.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "models/foreign_weights.h"

namespace diffscm {
namespace {

using nlohmann::json;

// The entry must be one of `known`, the first of which it is when the file lacks it.
json one_of(const json& config, const char* key, std::initializer_list<json> known) {
  const json value = config.value(key, *known.begin());
  if (std::ranges::find(known, value) == known.end()) {
    std::vector<std::string> shown;
    for (const json& k : known) shown.push_back(io::dump(k));
    fail("{} is {}: diffscm knows {}", io::show(key), io::dump(value), fmt::join(shown, ", "));
  }
  return value;
}

// A whole number from 1, or null where the file says so or lacks it.
json count(const json& config, const char* key, const json& otherwise) {
  const json value = config.value(key, otherwise);
  require(value.is_null() || (value.is_number_integer() && value >= 1 && value <= 1'000'000),
          "{} is {}, not a whole number", io::show(key), io::dump(value));
  return value;
}

class Translation {
 public:
  // head_channels 0: one head as wide as its level.
  Translation(NamedTensors& tensors, int64_t head_channels)
      : tensors_(tensors), head_channels_(head_channels) {}

  void rename() {
    const int64_t levels = length("down_blocks.", ".resnets.0.conv1.weight");
    const int64_t blocks = length("down_blocks.0.resnets.", ".conv1.weight");
    require(levels <= 8 && blocks <= 16,
            "it has {} levels of {} residual blocks, of which 8 and 16 are the most", levels,
            blocks);
    move("time_embedding.linear_1", "time_embed.0");
    move("time_embedding.linear_2", "time_embed.2");
    move("class_embedding", "label_emb");
    move("conv_in", "input_blocks.0.0");
    for (int64_t level = 0; level < levels; ++level) {
      const std::string from = fmt::format("down_blocks.{}", level);
      const int64_t first = 1 + level * (blocks + 1);
      for (int64_t i = 0; i < blocks; ++i)
        stage(from, i, fmt::format("input_blocks.{}", first + i));
      resampler(from + ".downsamplers.0", fmt::format("input_blocks.{}.0", first + blocks), ".op");
    }
    stage("mid_block", 0, "middle_block");
    block("mid_block.resnets.1", "middle_block.2");
    for (int64_t level = 0; level < levels; ++level) {
      const std::string from = fmt::format("up_blocks.{}", level);
      for (int64_t i = 0; i <= blocks; ++i) {
        const std::string to = fmt::format("output_blocks.{}", level * (blocks + 1) + i);
        const int parts = stage(from, i, to);
        if (i == blocks)
          resampler(from + ".upsamplers.0", fmt::format("{}.{}", to, parts), ".conv");
      }
    }
    move("conv_norm_out", "out.0");
    move("conv_out", "out.2");
  }

 private:
  bool has(const std::string& name) const { return tensors_.contains(name); }

  int64_t length(const char* before, const char* after) const {
    int64_t n = 0;
    while (has(fmt::format("{}{}{}", before, n, after))) ++n;
    return n;
  }

  void move(const std::string& from, const std::string& to) {
    for (const char* part : {".weight", ".bias"})
      if (auto node = tensors_.extract(from + part)) {
        node.key() = to + part;
        tensors_.insert(std::move(node));
      }
  }

  void block(const std::string& from, const std::string& to) {
    move(from + ".norm1", to + ".in_layers.0");
    move(from + ".conv1", to + ".in_layers.2");
    move(from + ".time_emb_proj", to + ".emb_layers.1");
    move(from + ".norm2", to + ".out_layers.0");
    move(from + ".conv2", to + ".out_layers.3");
    move(from + ".conv_shortcut", to + ".skip_connection");
  }

  // A residual block and its attention, if any. Returns how many parts the stage has.
  int stage(const std::string& from, int64_t i, const std::string& to) {
    block(fmt::format("{}.resnets.{}", from, i), to + ".0");
    const std::string attends = fmt::format("{}.attentions.{}", from, i);
    if (!has(attends + ".group_norm.weight")) return 1;
    attention(attends, to + ".1");
    return 2;
  }

  // What halves or doubles images: a convolution or a residual block.
  void resampler(const std::string& from, const std::string& to, const char* convolution) {
    move(from + ".conv", to + convolution);
    block(from, to);
  }

  Tensor take(const std::string& name) {
    auto node = tensors_.extract(name);
    require(static_cast<bool>(node), "tensor {} is missing", io::show(name));
    return node.mapped();
  }

  void attention(const std::string& from, const std::string& to) {
    const bool old = has(from + ".query.weight");  // names of old files
    move(from + ".group_norm", to + ".norm");
    const std::string first = from + (old ? ".query.weight" : ".to_q.weight");
    const auto query = tensors_.find(first);
    require(query != tensors_.end() && query->second.rank() == 2 && query->second.numel() > 0,
            "tensor {} is missing or no matrix", io::show(first));
    const int64_t channels = query->second.dim(1);
    require(head_channels_ == 0 || channels % head_channels_ == 0,
            "its attention has {} channels, not a multiple of \"attention_head_dim\" = {}",
            channels, head_channels_);
    const int64_t heads = head_channels_ == 0 ? 1 : channels / head_channels_;
    for (const bool weight : {true, false}) {
      const char* part = weight ? ".weight" : ".bias";
      const int64_t numbers = weight ? channels * channels : channels;
      Tensor all(weight ? Shape{3 * channels, channels, 1} : Shape{3 * channels});
      int64_t at = 0;
      for (const char* name :
           old ? std::array{".query", ".key", ".value"} : std::array{".to_q", ".to_k", ".to_v"}) {
        const Tensor one = take(from + name + part);
        require(one.numel() == numbers, "tensor {} has shape {}, expected [{}{}]",
                io::show(from + name + part), to_string(one.shape()), channels,
                weight ? fmt::format(", {}", channels) : "");
        std::copy_n(one.data(), numbers, all.mutable_data() + numbers * at++);
      }
      tensors_[to + ".qkv" + part] = per_head_from_chunked(all, heads);
    }
    move(from + (old ? ".proj_attn" : ".to_out.0"), to + ".proj_out");
    if (const auto found = tensors_.find(to + ".proj_out.weight"); found != tensors_.end())
      if (found->second.numel() == channels * channels)
        found->second = found->second.reshape({channels, channels, 1});
  }

  NamedTensors& tensors_;
  int64_t head_channels_;
};

// Columns of the first layer, which reads `sines` then cosines or the other way round, to the order
// that ours reads.
void order_time_embedding(Tensor& weight, bool sines_first, bool beside) {
  require(weight.rank() == 2 && weight.dim(1) % 2 == 0,
          "tensor \"time_embedding.linear_1.weight\" has shape {}, expected an even number of "
          "columns",
          to_string(weight.shape()));
  const int64_t half = weight.dim(1) / 2;
  Tensor ordered(weight.shape());
  for (int64_t row = 0; row < weight.dim(0); ++row)
    for (const bool sine : {false, true})
      for (int64_t i = 0; i < half; ++i) {
        const int64_t from = (sine == sines_first ? 0 : half) + i;
        const int64_t to = beside ? 2 * i + sine : sine * half + i;
        ordered.mutable_data()[row * 2 * half + to] = weight.data()[row * 2 * half + from];
      }
  weight = ordered;
}

// [K,C,R,S]: by half a turn.
void turn_filter(Tensor& weight) {
  const int64_t taps = weight.dim(2) * weight.dim(3);
  Tensor turned(weight.shape());
  const float* from = weight.data();
  float* to = turned.mutable_data();
  for (int64_t i = 0; i < weight.numel(); ++i)
    to[i] = from[i / taps * taps + (taps - 1 - i % taps)];
  weight = turned;
}

}  // namespace

bool has_diffusers_names(const NamedTensors& tensors) {
  return tensors.contains("conv_in.weight") &&
         tensors.contains("down_blocks.0.resnets.0.conv1.weight");
}

DiffusersConfig parse_diffusers_config(const json& config) {
  require(config.is_object(), "it is not a JSON object");
  one_of(config, "_class_name", {"UNet2DModel"});
  one_of(config, "center_input_sample", {false});
  one_of(config, "time_embedding_type", {"positional"});
  one_of(config, "act_fn", {"silu", "swish"});
  one_of(config, "mid_block_type", {"UNetMidBlock2D"});
  one_of(config, "mid_block_scale_factor", {1});
  one_of(config, "add_attention", {true});
  one_of(config, "class_embed_type", {nullptr});
  one_of(config, "resnet_time_scale_shift", {"default", "scale_shift"});
  for (const char* key : {"down_block_types", "up_block_types"})
    for (const json& type : config.value(key, json::array()))
      one_of({{key, type}}, key,
             {"DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D", "UpBlock2D",
              "AttnUpBlock2D", "ResnetUpsampleBlock2D"});
  DiffusersConfig parsed;
  parsed.sines_first = one_of(config, "flip_sin_to_cos", {true, false}) == false;
  parsed.last_frequency = one_of(config, "freq_shift", {0, 1}) == 1;
  parsed.one_sided = one_of(config, "downsample_padding", {1, 0}) == 0;
  const json groups = count(config, "norm_num_groups", 32);
  one_of(config, "attn_norm_num_groups", {nullptr, groups});
  const json width = count(config, "attention_head_dim", 8);
  const json eps = config.value("norm_eps", json(GroupNorm::kUsualEps));
  require(eps.is_number() && eps > 0 && eps < 1, "\"norm_eps\" is {}, not a number in (0, 1)",
          io::dump(eps));
  parsed.entries = {{"norm_groups", groups.is_null() ? json(32) : groups},
                    {"norm_eps", eps},
                    {"dropout", config.value("dropout", json(0.0))},
                    {"last_frequency", parsed.last_frequency}};
  if (width.is_null())
    parsed.entries["heads"] = 1;
  else
    parsed.entries["head_channels"] = parsed.head_channels = width;
  json size = config.value("sample_size", json());
  if (size.is_array() && size.size() == 2 && size[0] == size[1]) size = size[0];
  if (!size.is_null())
    parsed.entries["image_size"] = count({{"sample_size", size}}, "sample_size", {});
  return parsed;
}

json from_diffusers(NamedTensors& tensors, const DiffusersConfig& config) {
  Translation(tensors, config.head_channels).rename();
  if (const auto first = tensors.find("time_embed.0.weight"); first != tensors.end())
    order_time_embedding(first->second, config.sines_first, config.last_frequency);
  const bool turned = config.one_sided && std::ranges::any_of(tensors, [](const auto& entry) {
                        return entry.first.ends_with(".op.weight");
                      });
  if (turned)
    for (auto& [name, tensor] : tensors)
      if (tensor.rank() == 4) turn_filter(tensor);

  json entries = config.entries;
  entries["turned"] = turned;
  return entries;
}

json diffusion_from_diffusers(const json& scheduler) {
  require(scheduler.is_object(), "it is not a JSON object");
  one_of(scheduler, "prediction_type", {"epsilon"});
  one_of(scheduler, "trained_betas", {nullptr});
  const json timesteps = count(scheduler, "num_train_timesteps", 1000);
  const bool linear =
      one_of(scheduler, "beta_schedule", {"linear", "squaredcos_cap_v2"}) == "linear";
  if (linear) {
    one_of(scheduler, "beta_start", {1e-4});
    one_of(scheduler, "beta_end", {0.02});
    one_of(scheduler, "num_train_timesteps", {1000});
  }
  return {{"schedule", linear ? "linear" : "cosine"}, {"timesteps", timesteps}};
}

}  // namespace diffscm
