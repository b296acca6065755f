// Configurations of the networks that judge counterfactuals, as JSON.
#include <nlohmann/json.hpp>

#include "models/autoencoder.h"
#include "models/config_reader.h"
#include "models/oracle.h"
#include "models/vae.h"

namespace diffscm {

using nlohmann::json;

int64_t least_parameters(const VaeConfig& c) {
  const int64_t inner = c.image_size >> c.channels.size();
  return 3 * c.latent * inner * inner * c.channels.back();  // the linear layers
}

void to_json(json& j, const VaeConfig& c) {
  j = {{"image_size", c.image_size},
       {"in_channels", c.in_channels},
       {"channels", c.channels},
       {"latent", c.latent}};
}

void from_json(const json& j, VaeConfig& c) {
  ConfigReader reader(j, "VAE");
  reader.read_count("image_size", c.image_size, 4096);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_counts("channels", c.channels, 1, 4096);
  reader.read_count("latent", c.latent, 4096);
  reader.finish();
  require(c.image_size % (int64_t{1} << c.channels.size()) == 0,
          "VAE configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.channels.size());
}

int64_t least_parameters(const AutoencodersConfig& c) {
  return (c.classes + 1) * 2 * 9 * 16 * c.in_channels;  // the first and last convolutions
}

void to_json(json& j, const AutoencodersConfig& c) {
  j = {{"image_size", c.image_size}, {"in_channels", c.in_channels}, {"classes", c.classes}};
}

void from_json(const json& j, AutoencodersConfig& c) {
  ConfigReader reader(j, "autoencoder");
  reader.read_count("image_size", c.image_size, 4096);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_count("classes", c.classes, 100000);
  reader.finish();
  require(c.image_size % 4 == 0,
          "autoencoder configuration: 'image_size' is {}, must be a multiple of 4", c.image_size);
}

int64_t least_parameters(const OracleConfig& c) {
  int64_t least = (c.features + 1) * c.classes, in = c.in_channels;
  for (const int64_t out : c.channels) {
    least += 9 * in * out;
    in = out;
  }
  return least;
}

void to_json(json& j, const OracleConfig& c) {
  j = {{"image_size", c.image_size},
       {"in_channels", c.in_channels},
       {"classes", c.classes},
       {"channels", c.channels},
       {"features", c.features}};
}

void from_json(const json& j, OracleConfig& c) {
  ConfigReader reader(j, "oracle");
  reader.read_count("image_size", c.image_size, 4096);
  reader.read_count("in_channels", c.in_channels, 64);
  reader.read_count("classes", c.classes, 100000);
  reader.read_counts("channels", c.channels, 1, 4096);
  reader.read_count("features", c.features, 4096);
  reader.finish();
  for (const int64_t channels : c.channels)
    require(channels % 8 == 0, "oracle configuration: 'channels' holds {}, must be multiples of 8",
            channels);
  const int64_t halvings = static_cast<int64_t>(c.channels.size());
  require((c.image_size >> halvings) >= 1,
          "oracle configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          halvings);
}

}  // namespace diffscm
