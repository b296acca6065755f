// Configurations of the networks that judge counterfactuals, as JSON.
#include <nlohmann/json.hpp>

#include "models/autoencoder.h"
#include "models/config_fields.h"
#include "models/mlp_ensemble.h"
#include "models/oracle.h"
#include "models/vae.h"

namespace diffscm {

using nlohmann::json;

int64_t least_parameters(const VaeConfig& c) {
  const int64_t inner = c.image_size >> c.channels.size();
  return 3 * c.latent * inner * inner * c.channels.back();  // the linear layers
}

template <class Fields>
void fields(Fields& f, VaeConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.counts("channels", c.channels, 1, 4096);
  f.count("latent", c.latent, 4096);
}

void to_json(json& j, const VaeConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, VaeConfig& c) {
  read_config(j, "VAE", c);
  require(c.image_size % (int64_t{1} << c.channels.size()) == 0,
          "VAE configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          c.channels.size());
}

int64_t least_parameters(const AutoencodersConfig& c) {
  return (c.classes + 1) * 2 * 9 * 16 * c.in_channels;  // the first and last convolutions
}

template <class Fields>
void fields(Fields& f, AutoencodersConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.count("classes", c.classes, 100000);
}

void to_json(json& j, const AutoencodersConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, AutoencodersConfig& c) {
  read_config(j, "autoencoder", c);
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

template <class Fields>
void fields(Fields& f, OracleConfig& c) {
  f.count("image_size", c.image_size, 4096);
  f.count("in_channels", c.in_channels, 64);
  f.count("classes", c.classes, 100000);
  f.counts("channels", c.channels, 1, 4096);
  f.count("features", c.features, 4096);
}

void to_json(json& j, const OracleConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, OracleConfig& c) {
  read_config(j, "oracle", c);
  for (const int64_t channels : c.channels)
    require(channels % 8 == 0, "oracle configuration: 'channels' holds {}, must be multiples of 8",
            channels);
  const int64_t halvings = static_cast<int64_t>(c.channels.size());
  require((c.image_size >> halvings) >= 1,
          "oracle configuration: images of {0}x{0} cannot be halved {1} times", c.image_size,
          halvings);
}

int64_t least_parameters(const MlpEnsembleConfig& c) {
  return c.members * c.hidden *
         (c.image_size * c.image_size * c.in_channels + c.hidden + c.classes);
}

template <class Fields>
void fields(Fields& f, MlpEnsembleConfig& c) {
  f.count("image_size", c.image_size, 512);
  f.count("in_channels", c.in_channels, 64);
  f.count("classes", c.classes, 100000);
  f.count("hidden", c.hidden, 65536);
  f.count("members", c.members, 1000);
}

void to_json(json& j, const MlpEnsembleConfig& c) {
  write_config(j, c);
}

void from_json(const json& j, MlpEnsembleConfig& c) {
  read_config(j, "ensemble", c);
}

}  // namespace diffscm
