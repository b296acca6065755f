#include "models/foreign_weights.h"

#include <algorithm>
#include <optional>

#include "engine/io/file.h"
#include "models/condition.h"

namespace diffscm {
namespace {

using nlohmann::json;

// The tensors of one file, asked by name.
class Names {
 public:
  explicit Names(const NamedTensors& tensors) : tensors_(tensors) {}

  bool has(const std::string& name) const { return tensors_.contains(name); }
  bool any(std::string_view part) const {
    return std::ranges::any_of(
        tensors_, [&](const auto& entry) { return entry.first.find(part) != std::string::npos; });
  }
  // Size i of the tensor, which must have `rank` dimensions, none of them empty.
  int64_t dim(const std::string& name, int i, int rank) const {
    const auto found = tensors_.find(name);
    require(found != tensors_.end(), "tensor {} is missing", io::show(name));
    require(found->second.rank() == rank && found->second.numel() > 0,
            "tensor {} has shape {}, expected {} dimensions", io::show(name),
            to_string(found->second.shape()), rank);
    return found->second.dim(i);
  }

 private:
  const NamedTensors& tensors_;
};

int64_t model_channels(const Names& names) {
  return names.dim("time_embed.0.weight", 1, 2);
}

// What a level's channels are to model_channels.
json multiple_of(int64_t channels, int64_t base) {
  if (channels % base == 0) return channels / base;
  return static_cast<double>(channels) / static_cast<double>(base);
}

std::string stage_name(const char* blocks, int64_t i, int part = 0) {
  return fmt::format("{}.{}.{}", blocks, i, part);
}
std::string input_stage(int64_t i, int part = 0) {
  return stage_name("input_blocks", i, part);
}

bool is_block(const Names& names, const std::string& stage) {
  return names.has(stage + ".in_layers.2.weight");
}
bool attends(const Names& names, const char* blocks, int64_t i) {
  return names.has(stage_name(blocks, i, 1) + ".qkv.weight");
}

// Output channels of the residual block at `stage`.
int64_t block_channels(const Names& names, const std::string& stage) {
  return names.dim(stage + ".in_layers.2.weight", 0, 4);
}

// What every residual block says: the embedding scales and shifts, or is added.
bool scale_shift(const Names& names) {
  const std::string first = "middle_block.0";
  return names.dim(first + ".emb_layers.1.weight", 0, 2) != block_channels(names, first);
}

json common_config(const Names& names) {
  return {{"in_channels", names.dim("input_blocks.0.0.weight", 1, 4)},
          {"model_channels", model_channels(names)},
          {"scale_shift", scale_shift(names)}};
}

// Of a U-Net's output_blocks each level has one more than num_res_blocks, the last of which
// enlarges: by a residual block or by a convolution.
json unet_config(const Names& names) {
  const int64_t base = model_channels(names);
  const auto enlarges = [&](int64_t i, const char* weight) {
    return names.has(stage_name("output_blocks", i, 1) + weight) ||
           names.has(stage_name("output_blocks", i, 2) + weight);
  };
  int64_t count = 0, group = 0;
  bool by_blocks = false;
  for (; is_block(names, stage_name("output_blocks", count)); ++count) {
    const bool block = enlarges(count, ".in_layers.2.weight");
    if (group > 0 || (!block && !enlarges(count, ".conv.weight"))) continue;
    group = count + 1;
    by_blocks = block;
  }
  if (group == 0) group = count;
  require(group > 1 && count % group == 0,
          "its {} output_blocks do not divide into levels of as many residual blocks", count);
  const int64_t levels = count / group;
  require(levels <= 8, "it has more than 8 levels");
  require(levels > 1 || !is_block(names, input_stage(group + 1)),
          "it has no weights where images are halved and doubled (conv_resample off), which "
          "diffscm's U-Net cannot do");
  json mult = json::array(), attention = json::array();
  for (int64_t level = 0; level < levels; ++level) {
    const int64_t i = (levels - 1 - level) * group;
    mult.push_back(multiple_of(block_channels(names, stage_name("output_blocks", i)), base));
    if (attends(names, "output_blocks", i)) attention.push_back(int64_t{1} << level);
  }
  json config = common_config(names);
  config.update({{"out_channels", names.dim("out.2.weight", 0, 4)},
                 {"channel_mult", mult},
                 {"num_res_blocks", group - 1},
                 {"attention_downsample", attention},
                 {"resblock_updown", by_blocks},
                 {"conditions", json::array()}});
  require(!names.has("condition_emb.weight"),
          "condition_emb.weight says not what the network is told: import the model's own "
          ".safetensors file");
  if (names.has("label_emb.weight")) {
    const int64_t width = names.dim("label_emb.weight", 1, 2);
    require(width == 4 * base,
            "label_emb.weight is {} wide, the time embedding {}: the class goes through attention "
            "(What is Healthy?), which diffscm's networks cannot do",
            width, 4 * base);
    const Condition condition{.name = "class", .classes = names.dim("label_emb.weight", 0, 2)};
    config["conditions"].push_back(condition);
  }
  return config;
}

// How an encoder's input_blocks, after the stem, can be levels of `num_res_blocks` each, with
// something that halves between levels. Halving residual blocks look like the others, but for the
// attention that they never have.
struct Levels {
  int64_t num_res_blocks;
  std::vector<int64_t> channels;
  std::vector<int64_t> attention;  // by downsampling factor
};
struct EncoderStage {
  bool block, attention;  // not a block: a convolution that halves
  int64_t channels;
};
std::vector<Levels> possible_levels(const std::vector<EncoderStage>& stages) {
  std::vector<Levels> found;
  const bool by_blocks = std::ranges::all_of(stages, [](const EncoderStage& s) { return s.block; });
  const int64_t count = std::ssize(stages) + 1;  // nothing halves after the last level
  for (int64_t levels = 1; levels <= 8; ++levels) {
    const int64_t group = count / levels;
    if (count % levels != 0 || group < 2 || (!by_blocks && levels == 1)) continue;
    Levels option{group - 1, {}, {}};
    bool fits = true;
    for (int64_t i = 0; i + 1 < count; ++i) {
      const EncoderStage& s = stages[static_cast<size_t>(i)];
      const EncoderStage& first = stages[static_cast<size_t>(i / group * group)];
      if (i % group == 0) option.channels.push_back(s.channels);
      if (i % group == 0 && s.attention) option.attention.push_back(int64_t{1} << (i / group));
      const bool halves = i % group == group - 1;
      fits = fits && s.channels == first.channels && s.block == (by_blocks || !halves) &&
             s.attention == (!halves && first.attention);
    }
    if (fits) found.push_back(std::move(option));
  }
  return found;
}

std::vector<EncoderStage> encoder_stages(const Names& names) {
  std::vector<EncoderStage> stages;
  for (int64_t i = 1;; ++i) {
    if (is_block(names, input_stage(i)))
      stages.push_back(
          {true, attends(names, "input_blocks", i), block_channels(names, input_stage(i))});
    else if (names.has(input_stage(i) + ".op.weight"))
      stages.push_back({false, false, names.dim(input_stage(i) + ".op.weight", 0, 4)});
    else
      return stages;
  }
}

// The pool's name and, of the attention pool, the side of the maps that it reads.
struct EncoderPool {
  const char* name;
  std::string last;  // the layer that makes the outputs
  int last_rank;
  std::optional<int64_t> side;
};
EncoderPool encoder_pool(const Names& names) {
  if (names.has("out.2.positional_embedding")) {
    const int64_t tokens = names.dim("out.2.positional_embedding", 1, 2);
    int64_t side = 1;
    while ((side + 1) * (side + 1) + 1 <= tokens) ++side;
    require(side * side + 1 == tokens,
            "out.2.positional_embedding has {} positions, not those of a square and its mean",
            tokens);
    return {"attention", "out.2.c_proj.weight", 3, side};
  }
  if (names.has("out.2.weight")) return {"spatial", "out.2.weight", 2, {}};
  if (names.has("out.1.weight")) return {"spatial_v2", "out.3.weight", 2, {}};
  return {"adaptive", "out.3.weight", 4, {}};
}

json classifier_config(const Names& names, const json& told) {
  const int64_t base = model_channels(names);
  const std::vector<EncoderStage> stages = encoder_stages(names);
  const EncoderPool pool = encoder_pool(names);
  const int64_t classes = names.dim(pool.last, 0, pool.last_rank);
  std::vector<Levels> options = possible_levels(stages);
  require(!options.empty(), "its {} input_blocks do not divide into levels", stages.size() + 1);
  const auto largest_side = [&](const Levels& l) {  // that halves to the pool's
    return ((*pool.side + 1) << (l.channels.size() - 1)) - 1;
  };
  const auto least_side = [&](const Levels& l) { return *pool.side << (l.channels.size() - 1); };
  std::erase_if(options, [&](const Levels& l) {
    if (told.value("num_res_blocks", json(l.num_res_blocks)) != l.num_res_blocks) return true;
    if (!pool.side) return false;
    const json size = told.value("image_size", json(least_side(l)));
    return size < least_side(l) || size > largest_side(l);
  });
  require(!options.empty(),
          "its {} input_blocks{} fit no classifier of the image_size and num_res_blocks given",
          stages.size() + 1,
          pool.side ? fmt::format(" and the pool's maps of {0}x{0}", *pool.side) : "");
  require(options.size() == 1,
          "its residual blocks may be {} or {} per level: give --set num_res_blocks=N{}",
          options.front().num_res_blocks, options.back().num_res_blocks,
          pool.side ? " or --set image_size=N" : "");
  const Levels& levels = options[0];
  json mult = json::array();
  for (const int64_t channels : levels.channels) mult.push_back(multiple_of(channels, base));
  json config = common_config(names);
  config.update({{"channel_mult", mult},
                 {"num_res_blocks", levels.num_res_blocks},
                 {"attention_downsample", levels.attention},
                 {"resblock_updown",
                  std::ranges::all_of(stages, [](const EncoderStage& s) { return s.block; })},
                 {"pool", pool.name},
                 {"classes", classes}});
  if (!pool.side) return config;
  // Halves that are rounded down leave several sizes; one that is a power of two is the one meant.
  const int64_t least = least_side(levels);
  if (least == largest_side(levels) || (least & (least - 1)) == 0) config["image_size"] = least;
  return config;
}

// Moves row (a, b, c) of [A, B, C] to (b, a, c).
Tensor swap_first_two(const Tensor& projection, int64_t a, int64_t b) {
  const int64_t rows = projection.dim(0);
  require(rows % (a * b) == 0, "{} rows of a query-key-value projection in {} parts", rows, a * b);
  const int64_t block = projection.numel() / (a * b);
  Tensor out(projection.shape());
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      std::copy_n(projection.data() + (i * b + j) * block, block,
                  out.mutable_data() + (j * a + i) * block);
  return out;
}

}  // namespace

std::vector<std::string> tidy_names(NamedTensors& tensors) {
  std::vector<std::string> notes;
  for (const std::string prefix : {"module.", "_orig_mod.", "module."}) {
    if (tensors.empty() || !std::ranges::all_of(tensors, [&](const auto& entry) {
          return entry.first.starts_with(prefix);
        }))
      continue;
    NamedTensors stripped;
    for (auto& [name, tensor] : tensors)
      stripped.emplace(name.substr(prefix.size()), std::move(tensor));
    tensors = std::move(stripped);
    notes.push_back(fmt::format("'{}' stripped from every name", prefix));
  }
  if (tensors.contains("label_emb.weight")) return notes;  // then they are read
  const size_t dead = std::erase_if(tensors, [](const auto& entry) {
    return entry.first.starts_with("class_embed.") ||
           entry.first.find(".encoder_kv.") != std::string::npos;
  });
  if (dead > 0)
    notes.push_back(fmt::format(
        "{} tensors of class_embed and encoder_kv left out: the network is told no class, so "
        "nothing reads them",
        dead));
  return notes;
}

ForeignNetwork recognise_network(const NamedTensors& tensors, const json& told) {
  const Names names(tensors);
  require(names.has("time_embed.0.weight") && names.has("input_blocks.0.0.weight"),
          "it has no time_embed.0.weight and input_blocks.0.0.weight: it is no network of "
          "guided-diffusion's family, which diffscm's U-Net and classifier are of");
  if (names.any("output_blocks.")) return {"unet", unet_config(names)};
  return {"classifier", classifier_config(names, told)};
}

Tensor chunked_from_per_head(const Tensor& projection, int64_t heads) {
  return swap_first_two(projection, heads, 3);
}

Tensor per_head_from_chunked(const Tensor& projection, int64_t heads) {
  return swap_first_two(projection, 3, heads);
}

}  // namespace diffscm
