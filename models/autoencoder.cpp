#include "models/autoencoder.h"

namespace diffscm {
namespace {

constexpr Conv2dOptions kUp{.upsample = true};

}  // namespace

Autoencoder::Autoencoder(int64_t c, bool of_class, Initializer& init) {
  const auto conv = [&](int64_t in, int64_t out, Conv2dOptions options = {}) {
    return Conv2d(in, out, 3, init, options);
  };
  if (of_class) {
    encoder_ = {{conv(c, 16), true, true}, {conv(16, 8), true, true}, {conv(8, 8)}};
    decoder_ = {{conv(8, 8), true}, {conv(8, 16, kUp), true}, {conv(16, c, kUp)}};
  } else {
    encoder_ = {{conv(c, 16), true}, {conv(16, 16), true, true}, {conv(16, c)}};
    decoder_ = {{conv(c, 16), true}, {conv(16, 16, kUp), true}, {conv(16, c)}};
  }
}

Variable Autoencoder::run(const std::vector<Stage>& stages, Variable h) {
  for (const Stage& stage : stages) {
    h = stage.conv.forward(h);
    if (stage.relu) h = relu(h);
    if (stage.pool) h = max_pool(h);
  }
  return h;
}

void Autoencoder::visit(const std::string& prefix, const ParameterVisitor& visitor) {
  for (size_t i = 0; i < encoder_.size(); ++i)
    encoder_[i].conv.visit(fmt::format("{}.encoder.{}", prefix, i), visitor);
  for (size_t i = 0; i < decoder_.size(); ++i)
    decoder_[i].conv.visit(fmt::format("{}.decoder.{}", prefix, i), visitor);
}

Autoencoders::Autoencoders(const AutoencodersConfig& config, uint64_t seed) : config_(config) {
  Initializer init(seed);
  for (int64_t i = 0; i <= config.classes; ++i)
    networks_.emplace_back(config.in_channels, /*of_class=*/i < config.classes, init);
}

const Autoencoder& Autoencoders::of_class(int64_t label) const {
  require(label >= 0 && label < config_.classes, "class {} is outside the {} of these autoencoders",
          label, config_.classes);
  return networks_[static_cast<size_t>(label)];
}

std::string Autoencoders::name(const AutoencodersConfig& config, int64_t i) {
  return i < config.classes ? fmt::format("class.{}", i) : "all";
}

void Autoencoders::visit(const ParameterVisitor& visitor) {
  for (size_t i = 0; i < networks_.size(); ++i)
    networks_[i].visit(name(config_, static_cast<int64_t>(i)), visitor);
}

Tensor to_unit_range(const Tensor& x) {
  const Tensor half = Tensor::full(x.shape(), 0.5f, x.target());
  Tensor u(x.shape(), x.target());
  operators(x.target())
      .linear_combination({x.numel(), 0.5f, x.data(), 1, half.data(), u.mutable_data()});
  return u;
}

}  // namespace diffscm
