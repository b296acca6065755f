#include "models/foreign_weights.h"

#include <algorithm>

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

int64_t multiple_of(int64_t channels, int64_t base, const std::string& stage) {
  require(channels % base == 0, "{} has {} channels, not a multiple of time_embed's {}", stage,
          channels, base);
  return channels / base;
}

// Output channels of the residual block at `stage`.
int64_t block_channels(const Names& names, const std::string& stage) {
  const int64_t channels = names.dim(stage + ".in_layers.2.weight", 0, 4);
  const int64_t embedded = names.dim(stage + ".emb_layers.1.weight", 0, 2);
  require(embedded != channels,
          "{}.emb_layers adds to the activations (use_scale_shift_norm off), which diffscm's "
          "networks cannot do",
          stage);
  return channels;
}

std::string stage_name(int64_t i, int part = 0) {
  return fmt::format("input_blocks.{}.{}", i, part);
}

bool is_block(const Names& names, const std::string& stage) {
  return names.has(stage + ".in_layers.2.weight");
}

json unet_config(const Names& names) {
  const int64_t base = model_channels(names);
  const int64_t in = names.dim("input_blocks.0.0.weight", 1, 4);
  const int64_t out = names.dim("out.2.weight", 0, 4);
  require(out != 2 * in,
          "out.2 makes {} channels of {}: the variance is learnt (learn_sigma), which diffscm's "
          "networks cannot do",
          out, in);
  for (int part = 1; part <= 2; ++part)
    for (int64_t i = 0; names.has(fmt::format("output_blocks.{}.0.in_layers.2.weight", i)); ++i)
      require(!is_block(names, fmt::format("output_blocks.{}.{}", i, part)),
              "output_blocks.{}.{} enlarges by a residual block (resblock_updown), which diffscm's "
              "U-Net cannot do",
              i, part);

  std::vector<int64_t> mult, attention, blocks{0};  // blocks: residual blocks per level
  int64_t downsample = 1;
  for (int64_t i = 1;; ++i) {
    if (is_block(names, stage_name(i))) {
      const int64_t m = multiple_of(block_channels(names, stage_name(i)), base, stage_name(i));
      if (blocks.back()++ == 0) mult.push_back(m);
      if (names.has(stage_name(i, 1) + ".qkv.weight") &&
          (attention.empty() || attention.back() != downsample))
        attention.push_back(downsample);
    } else if (names.has(stage_name(i) + ".op.weight")) {
      require(blocks.back() > 0, "{} halves the image with no residual block before it",
              stage_name(i));
      blocks.push_back(0);
      downsample *= 2;
    } else {
      require(!is_block(names, stage_name(i + 1)),
              "{} has no weights: it halves the image by averaging (conv_resample off), which "
              "diffscm's U-Net cannot do",
              stage_name(i));
      break;
    }
    require(blocks.size() <= 8, "it has more than 8 levels");
  }
  require(std::ranges::count(blocks, blocks[0]) == std::ssize(blocks) && blocks[0] > 0,
          "its levels have different numbers of residual blocks, which diffscm's U-Net cannot do");
  json config = {{"in_channels", in},           {"out_channels", out},
                 {"model_channels", base},      {"channel_mult", mult},
                 {"num_res_blocks", blocks[0]}, {"attention_downsample", attention},
                 {"conditions", json::array()}};
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

// How an encoder's residual blocks, of these channels, can be levels of `num_res_blocks` each and a
// halving one between levels.
struct Levels {
  int64_t num_res_blocks;
  std::vector<int64_t> channels;
};
std::vector<Levels> possible_levels(const std::vector<int64_t>& blocks) {
  std::vector<Levels> found;
  const int64_t count = std::ssize(blocks) + 1;  // the last level has no halving block
  for (int64_t levels = 1; levels <= 8; ++levels) {
    const int64_t group = count / levels;
    if (count % levels != 0 || group < 2) continue;
    Levels option{group - 1, {}};
    bool uniform = true;
    for (int64_t i = 0; i < std::ssize(blocks); ++i) {
      if (i % group == 0) option.channels.push_back(blocks[static_cast<size_t>(i)]);
      uniform = uniform && blocks[static_cast<size_t>(i)] == option.channels.back();
    }
    if (uniform) found.push_back(std::move(option));
  }
  return found;
}

json classifier_config(const Names& names, const json& told) {
  const int64_t base = model_channels(names);
  std::vector<int64_t> blocks;
  for (int64_t i = 1;; ++i) {
    require(!names.has(stage_name(i) + ".op.weight"),
            "{} halves the image by a convolution (resblock_updown off), which diffscm's "
            "classifier cannot do",
            stage_name(i));
    require(!names.has(stage_name(i, 1) + ".qkv.weight"),
            "{} has attention, which diffscm's classifier has in the middle only", stage_name(i));
    if (!is_block(names, stage_name(i))) break;
    blocks.push_back(block_channels(names, stage_name(i)));
  }
  require(names.has("out.2.positional_embedding"),
          "it has no out.2.positional_embedding: its pool is not attention's, the only one that "
          "diffscm's classifier has");
  const int64_t tokens = names.dim("out.2.positional_embedding", 1, 2);
  int64_t side = 1;
  while ((side + 1) * (side + 1) + 1 <= tokens) ++side;
  require(side * side + 1 == tokens,
          "out.2.positional_embedding has {} positions, not those of a square and its mean",
          tokens);

  std::vector<Levels> options = possible_levels(blocks);
  require(!options.empty(), "its {} residual blocks do not divide into levels", blocks.size());
  const auto largest_side = [&](const Levels& l) {  // that halves to the pool's
    return ((side + 1) << (l.channels.size() - 1)) - 1;
  };
  const auto least_side = [&](const Levels& l) { return side << (l.channels.size() - 1); };
  std::erase_if(options, [&](const Levels& l) {
    const json size = told.value("image_size", json(least_side(l)));
    return told.value("num_res_blocks", json(l.num_res_blocks)) != l.num_res_blocks ||
           size < least_side(l) || size > largest_side(l);
  });
  require(!options.empty(),
          "its {} residual blocks and {} positions fit no classifier of the image_size and "
          "num_res_blocks given",
          blocks.size(), tokens);
  require(options.size() == 1,
          "its residual blocks may be {} or {} per level: give --set num_res_blocks=N or --set "
          "image_size=N",
          options.front().num_res_blocks, options.back().num_res_blocks);
  const Levels& levels = options[0];
  std::vector<int64_t> mult;
  for (const int64_t channels : levels.channels)
    mult.push_back(multiple_of(channels, base, "a level"));
  json config = {{"in_channels", names.dim("input_blocks.0.0.weight", 1, 4)},
                 {"model_channels", base},
                 {"channel_mult", mult},
                 {"num_res_blocks", levels.num_res_blocks},
                 {"classes", names.dim("out.2.c_proj.weight", 0, 3)}};
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

std::vector<std::string> differences(
    const std::vector<std::pair<std::string, Parameter*>>& parameters,
    const NamedTensors& tensors) {
  std::vector<std::string> missing, misshapen, extra;
  NamedTensors rest = tensors;
  for (const auto& [name, parameter] : parameters) {
    const Shape expected = file_shape(parameter->variable.shape(), parameter->layout);
    const auto found = rest.find(name);
    if (found == rest.end()) {
      missing.push_back(fmt::format("{} is missing", io::show(name)));
      continue;
    }
    if (found->second.shape() != expected || found->second.dtype() != Dtype::f32)
      misshapen.push_back(fmt::format("{} is {} {}, not f32 {}", io::show(name),
                                      name_of(found->second.dtype()),
                                      to_string(found->second.shape()), to_string(expected)));
    rest.erase(found);
  }
  for (const auto& [name, tensor] : rest)
    extra.push_back(fmt::format("{} {} has no place", io::show(name), to_string(tensor.shape())));
  missing.insert(missing.end(), misshapen.begin(), misshapen.end());
  missing.insert(missing.end(), extra.begin(), extra.end());
  return missing;
}

Tensor chunked_from_per_head(const Tensor& projection, int64_t heads) {
  return swap_first_two(projection, heads, 3);
}

Tensor per_head_from_chunked(const Tensor& projection, int64_t heads) {
  return swap_first_two(projection, 3, heads);
}

}  // namespace diffscm
