// Model configurations as JSON: what checkpoints store, so that nobody retypes architecture flags.
#include <nlohmann/json.hpp>

#include "models/classifier.h"
#include "models/config_reader.h"
#include "models/mlp_ensemble.h"
#include "models/unet.h"

namespace diffscm {
namespace {

using nlohmann::json;
using Reader = ConfigReader;

// The convolutions of the residual blocks that every level has: the second of each is [c, 3, 3, c].
int64_t least_block_parameters(const std::vector<int64_t>& channel_mult, int64_t model_channels,
                               int64_t blocks) {
  int64_t least = 0;
  for (const int64_t m : channel_mult)
    least += blocks * 9 * (m * model_channels) * (m * model_channels);
  return least;
}

void require_groups(const char* what, int64_t channels, int64_t groups) {
  require(channels % groups == 0,
          "{} configuration: 'model_channels' is {}, must be a multiple of 'norm_groups' = {}",
          what, channels, groups);
}

}  // namespace

int64_t least_parameters(const UNetConfig& c) {
  return least_block_parameters(c.channel_mult, c.model_channels, 2 * c.num_res_blocks + 1);
}

int64_t least_parameters(const ClassifierConfig& c) {
  const int64_t size = c.image_size >> (c.channel_mult.size() - 1);
  const int64_t channels = c.channel_mult.back() * c.model_channels;
  return least_block_parameters(c.channel_mult, c.model_channels, c.num_res_blocks) +
         (size * size + 1 + c.classes) * channels;  // the attention pool
}

int64_t least_parameters(const MlpEnsembleConfig& c) {
  return c.members * c.hidden *
         (c.image_size * c.image_size * c.in_channels + c.hidden + c.classes);
}

void to_json(json& j, const UNetConfig& c) {
  j = {{"image_size", c.image_size},
       {"in_channels", c.in_channels},
       {"out_channels", c.out_channels},
       {"model_channels", c.model_channels},
       {"channel_mult", c.channel_mult},
       {"num_res_blocks", c.num_res_blocks},
       {"attention_downsample", c.attention_downsample},
       {"heads", c.heads},
       {"dropout", c.dropout},
       {"norm_groups", c.norm_groups},
       {"conditions", c.conditions}};
}

void from_json(const json& j, UNetConfig& c) {
  Reader reader(j, "U-Net");
  reader.read_count("image_size", c.image_size, 4096);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_count("out_channels", c.out_channels, 64);
  reader.read_count("model_channels", c.model_channels, 4096);
  reader.read_counts("channel_mult", c.channel_mult, 1, 64);
  reader.read_count("num_res_blocks", c.num_res_blocks, 16);
  reader.read_counts("attention_downsample", c.attention_downsample, 0, 4096);
  reader.read_count("heads", c.heads, 256);
  reader.read_rate("dropout", c.dropout);
  if (reader.has("norm_groups")) reader.read_count("norm_groups", c.norm_groups, 4096);
  if (reader.has("conditions")) reader.read("conditions", c.conditions);
  reader.finish();
  require_groups("U-Net", c.model_channels, c.norm_groups);
  require(c.image_size % (int64_t{1} << (c.channel_mult.size() - 1)) == 0,
          "U-Net configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.channel_mult.size() - 1);
  for (const int64_t m : c.channel_mult)
    require(c.model_channels * m % c.heads == 0, "U-Net configuration: {} channels for {} heads",
            c.model_channels * m, c.heads);
}

void to_json(json& j, const ClassifierConfig& c) {
  j = {{"image_size", c.image_size},
       {"in_channels", c.in_channels},
       {"classes", c.classes},
       {"model_channels", c.model_channels},
       {"channel_mult", c.channel_mult},
       {"num_res_blocks", c.num_res_blocks},
       {"head_channels", c.head_channels},
       {"dropout", c.dropout},
       {"norm_groups", c.norm_groups}};
}

void from_json(const json& j, ClassifierConfig& c) {
  Reader reader(j, "classifier");
  reader.read_count("image_size", c.image_size, 4096);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_count("classes", c.classes, 100000);
  reader.read_count("model_channels", c.model_channels, 4096);
  reader.read_counts("channel_mult", c.channel_mult, 1, 64);
  reader.read_count("num_res_blocks", c.num_res_blocks, 16);
  reader.read_count("head_channels", c.head_channels, 4096);
  reader.read_rate("dropout", c.dropout);
  if (reader.has("norm_groups")) reader.read_count("norm_groups", c.norm_groups, 4096);
  reader.finish();
  require_groups("classifier", c.model_channels, c.norm_groups);
  require((c.image_size >> (c.channel_mult.size() - 1)) >= 1,
          "classifier configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.channel_mult.size() - 1);
}

void to_json(json& j, const MlpEnsembleConfig& c) {
  j = {{"image_size", c.image_size},
       {"in_channels", c.in_channels},
       {"classes", c.classes},
       {"hidden", c.hidden},
       {"members", c.members}};
}

void from_json(const json& j, MlpEnsembleConfig& c) {
  Reader reader(j, "ensemble");
  reader.read_count("image_size", c.image_size, 512);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_count("classes", c.classes, 100000);
  reader.read_count("hidden", c.hidden, 65536);
  reader.read_count("members", c.members, 1000);
  reader.finish();
}

}  // namespace diffscm
