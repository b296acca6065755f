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
int64_t least_block_parameters(const TrunkConfig& c, int64_t blocks) {
  int64_t least = 0;
  for (int64_t level = 0; level < c.levels(); ++level)
    least += blocks * 9 * c.channels_at(level) * c.channels_at(level);
  return least;
}

// What U-Nets and encoders have both.
void check(const char* what, const TrunkConfig& c) {
  for (int64_t level = 0; level < c.levels(); ++level) {
    const int64_t channels = c.channels_at(level);
    require(channels > 0 && channels % c.norm_groups == 0,
            "{} configuration: {} channels ('model_channels' {} times {}) are not a multiple of "
            "'norm_groups' = {}",
            what, channels, c.model_channels, c.channel_mult[static_cast<size_t>(level)],
            c.norm_groups);
    if (!c.attends_at(level) && level + 1 < c.levels()) continue;
    if (c.head_channels > 0)
      require(channels % c.head_channels == 0,
              "{} configuration: {} channels are not a multiple of 'head_channels' = {}", what,
              channels, c.head_channels);
    else
      require(channels % c.heads == 0, "{} configuration: {} channels for {} heads", what, channels,
              c.heads);
  }
  require(c.model_channels % 2 == 0, "{} configuration: 'model_channels' is {}, must be even", what,
          c.model_channels);
}

}  // namespace

int64_t least_parameters(const UNetConfig& c) {
  return least_block_parameters(c, 2 * c.num_res_blocks + 1);
}

int64_t least_parameters(const EncoderConfig& c, int64_t outputs) {
  const int64_t size = c.last_size(), channels = c.channels_at(c.levels() - 1);
  const int64_t positions = c.pool == Pool::attention ? size * size + 1 : 0;
  const int64_t width = c.pool == Pool::attention || c.pool == Pool::adaptive ? channels : 2048;
  return least_block_parameters(c, c.num_res_blocks) + positions * channels + outputs * width;
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
  f.multiples("channel_mult", c.channel_mult);
  f.count("num_res_blocks", c.num_res_blocks, 16);
  f.counts("attention_downsample", c.attention_downsample, 0, 4096);
  f.count("heads", c.heads, 256);
  f.newer_count_or_none("head_channels", c.head_channels, 4096);
  f.newer("resblock_updown", c.resblock_updown);
  f.newer("scale_shift", c.scale_shift);
  f.rate("dropout", c.dropout);
  f.newer_count("norm_groups", c.norm_groups, 4096);
  f.newer_small("norm_eps", c.norm_eps);
  f.newer("last_frequency", c.last_frequency);
  f.newer("turned", c.turned);
  f.newer("conditions", c.conditions);
}

void to_json(json& j, const UNetConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, UNetConfig& c) {
  read_config(j, "U-Net", c);
  check("U-Net", c);
  require(c.out_channels == c.in_channels || c.learns_variance(),
          "U-Net configuration: 'out_channels' is {}, must be 'in_channels' = {} or, where the "
          "variance is learnt, twice as many",
          c.out_channels, c.in_channels);
  require(!c.last_frequency || c.model_channels > 2,
          "U-Net configuration: 'last_frequency' needs more than one frequency");
  require(c.image_size % (int64_t{1} << (c.levels() - 1)) == 0,
          "U-Net configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.levels() - 1);
}

void to_json(json& j, const Pool& pool) {
  j = name_of(pool);
}
void from_json(const json& j, Pool& pool) {
  pool = parse_pool(j.get<std::string>());
}

template <class Fields>
void fields(Fields& f, EncoderConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.count("model_channels", c.model_channels, 4096);
  f.multiples("channel_mult", c.channel_mult);
  f.count("num_res_blocks", c.num_res_blocks, 16);
  f.newer_counts("attention_downsample", c.attention_downsample, 4096);
  f.newer_count("heads", c.heads, 256);
  f.newer_count_or_none("head_channels", c.head_channels, 4096);
  f.newer("pool", c.pool);
  f.newer("resblock_updown", c.resblock_updown);
  f.newer("scale_shift", c.scale_shift);
  f.rate("dropout", c.dropout);
  f.newer_count("norm_groups", c.norm_groups, 4096);
}

void check(const char* what, const EncoderConfig& c) {
  check(what, static_cast<const TrunkConfig&>(c));
  require(c.pool != Pool::attention || c.head_channels > 0,
          "{} configuration: the attention pool needs 'head_channels'", what);
  require(c.last_size() >= 1, "{0} configuration: images of {1}x{1} cannot be halved {2} times",
          what, c.image_size, c.levels() - 1);
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
