// Configurations of the networks that make counterfactuals, as JSON: what checkpoints store, so
// that nobody retypes architecture flags.
#include <nlohmann/json.hpp>

#include "models/classifier.h"
#include "models/config_fields.h"
#include "models/regressor.h"
#include "models/unet.h"

namespace diffscm {
namespace {

using nlohmann::json;

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

int64_t least_parameters(const EncoderConfig& c, int64_t outputs) {
  const int64_t size = c.image_size >> (c.channel_mult.size() - 1);
  const int64_t channels = c.channel_mult.back() * c.model_channels;
  return least_block_parameters(c.channel_mult, c.model_channels, c.num_res_blocks) +
         (size * size + 1 + outputs) * channels;  // the attention pool
}
int64_t least_parameters(const ClassifierConfig& c) {
  return least_parameters(c, c.classes);
}
int64_t least_parameters(const RegressorConfig& c) {
  return least_parameters(c, 1);
}

template <class Fields>
void fields(Fields& f, UNetConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.count("out_channels", c.out_channels, 64);
  f.count("model_channels", c.model_channels, 4096);
  f.counts("channel_mult", c.channel_mult, 1, 64);
  f.count("num_res_blocks", c.num_res_blocks, 16);
  f.counts("attention_downsample", c.attention_downsample, 0, 4096);
  f.count("heads", c.heads, 256);
  f.rate("dropout", c.dropout);
  f.newer_count("norm_groups", c.norm_groups, 4096);
  f.newer("conditions", c.conditions);
}

void to_json(json& j, const UNetConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, UNetConfig& c) {
  read_config(j, "U-Net", c);
  require_groups("U-Net", c.model_channels, c.norm_groups);
  require(c.image_size % (int64_t{1} << (c.channel_mult.size() - 1)) == 0,
          "U-Net configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.channel_mult.size() - 1);
  for (const int64_t m : c.channel_mult)
    require(c.model_channels * m % c.heads == 0, "U-Net configuration: {} channels for {} heads",
            c.model_channels * m, c.heads);
}

template <class Fields>
void fields(Fields& f, EncoderConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.count("model_channels", c.model_channels, 4096);
  f.counts("channel_mult", c.channel_mult, 1, 64);
  f.count("num_res_blocks", c.num_res_blocks, 16);
  f.count("head_channels", c.head_channels, 4096);
  f.rate("dropout", c.dropout);
  f.newer_count("norm_groups", c.norm_groups, 4096);
}

void check(const char* what, const EncoderConfig& c) {
  require_groups(what, c.model_channels, c.norm_groups);
  require((c.image_size >> (c.channel_mult.size() - 1)) >= 1,
          "{0} configuration: images of {1}x{1} cannot be halved {2} times", what, c.image_size,
          c.channel_mult.size() - 1);
}

template <class Fields>
void fields(Fields& f, ClassifierConfig& c) {
  fields(f, static_cast<EncoderConfig&>(c));
  f.count("classes", c.classes, 100000);
}

void to_json(json& j, const ClassifierConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, ClassifierConfig& c) {
  read_config(j, "classifier", c);
  check("classifier", c);
}

void to_json(json& j, const NoiseLevelError& e) {
  j = {{"timestep", e.timestep}, {"rms", e.rms}};
}

void from_json(const json& j, NoiseLevelError& e) {
  ConfigReader reader(j, "sigma");
  reader.read("timestep", e.timestep);
  reader.read("rms", e.rms);
  reader.finish();
}

template <class Fields>
void fields(Fields& f, RegressorConfig& c) {
  fields(f, static_cast<EncoderConfig&>(c));
  f.newer("attribute", c.attribute);
  f.newer("sigma", c.sigma);
}

void to_json(json& j, const RegressorConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, RegressorConfig& c) {
  read_config(j, "regressor", c);
  check("regressor", c);
  require(!c.attribute.name.empty(), "regressor configuration lacks 'attribute'");
  require(!c.attribute.is_category(), "regressor configuration: '{}' has {} classes, not a number",
          c.attribute.name, c.attribute.classes);
  for (size_t k = 0; k < c.sigma.size(); ++k) {
    const NoiseLevelError& e = c.sigma[k];
    require(e.timestep > (k > 0 ? c.sigma[k - 1].timestep : -1),
            "regressor configuration: 'sigma' has timestep {} out of order", e.timestep);
    require(std::isfinite(e.rms) && e.rms >= NoiseLevelError::kLeast,
            "regressor configuration: 'sigma' is {} at timestep {}, must be finite and at least {}",
            e.rms, e.timestep, NoiseLevelError::kLeast);
  }
}

}  // namespace diffscm
