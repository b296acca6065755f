// diffscm train vae|oracle|autoencoder, on eight pixels a side.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

TEST(TrainJudges, EachLeavesAModelAndSaysHowGoodItIs) {
  for (const auto& [kind, figure] : {std::pair{"vae", "test_divergence_nats"},
                                     {"oracle", "test_accuracy"},
                                     {"autoencoder", "test_mse_own_class"}}) {
    const std::string out = fresh();
    expect_success(diffscm(train_judge(kind, out)));
    EXPECT_TRUE(read_json(fs::path(out) / "evaluation.json")[figure].is_number()) << kind;
    const auto metadata = io::read_safetensors(fs::path(out) / "model.safetensors").metadata;
    EXPECT_EQ(json::parse(metadata.at("config"))["image_size"], 8) << kind;
    expect_success(diffscm({"inspect", out, "--json"}));
  }
}

TEST(TrainJudges, OneFileHoldsTheAutoencodersOfAllClasses) {
  const std::string out = fresh();
  expect_success(diffscm(train_judge("autoencoder", out)));
  const auto file = io::read_safetensors(fs::path(out) / "model.safetensors");
  EXPECT_EQ(file.metadata.at("kind"), "autoencoders");
  EXPECT_EQ(file.tensors.size(), 10u * 12 + 12);
  EXPECT_EQ(file.tensors.count("class.9.decoder.2.bias"), 1u);
  EXPECT_EQ(file.tensors.count("all.encoder.0.weight"), 1u);
  const json networks = json::parse(file.metadata.at("training"))["networks"];
  // 12 images, 10 classes: two of classes 0 and 1, one of the others. Batches of 4.
  EXPECT_EQ(networks["class.0"]["steps"], 2);
  EXPECT_EQ(networks["class.9"]["steps"], 1);
  EXPECT_EQ(networks["all"]["steps"], 6);
}

TEST(TrainJudges, StopsInTheMiddleAndGoesOn) {
  const std::string whole = fresh(), parts = fresh();
  expect_success(diffscm(train_judge("autoencoder", whole)));
  expect_success(diffscm(train_judge("autoencoder", parts) + Arguments{"--minutes", "1e-9"}));
  EXPECT_FALSE(fs::exists(fs::path(parts) / "model.safetensors"));
  expect_success(diffscm(train_judge("autoencoder", parts) + Arguments{"--resume"}));
  expect_same_models(whole, parts);
}

TEST(TrainJudges, RefuseWhatDoesNotFit) {
  const auto refused = [](const char* kind, const Arguments& more, const char* part) {
    expect_failure(diffscm(train_judge(kind, fresh()) + more), 1, part);
  };
  refused("vae", {"--set", "train.vae.beta=-1.0"}, "train.vae.beta is -1");
  refused("vae", {"--set", "vae.image_size=16"}, "is for 16x16x1 images");
  refused("oracle", {"--set", "oracle.channels=[12]"}, "multiples of 8");
  refused("autoencoder", {"--set", "autoencoders.classes=9"}, "is for 9 classes");
  refused("autoencoder", {"--init", world().unet()}, "not for autoencoders");
}

}  // namespace
}  // namespace diffscm
