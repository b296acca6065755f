// diffscm train vae|oracle|autoencoder, on eight pixels a side.
#include "tests/apps/networks.h"

namespace diffscm {
namespace {

// Trains one, and returns what it says of the test images, which here are the training images.
double reported(const char* kind, const std::string& out, const char* figure,
                const Arguments& more = {}) {
  expect_success(diffscm(train_judge(kind, out) + more));
  expect_success(diffscm({"inspect", out, "--json"}));
  return read_json(fs::path(out) / "evaluation.json").value(figure, -1.0);
}

const Tensor& images() {
  static const Tensor all = tensor(io::read_npz(world().data()).at("images"));
  return all;
}

TEST(TrainJudges, TheOracleReportsItsAccuracy) {
  const std::string out = fresh();
  const double accuracy = reported("oracle", out, "test_accuracy", {"--steps", "200"});
  const NoGrad no_grad;
  const auto oracle = load_model<Oracle>(out, Target::cpu);
  const auto p = probabilities(oracle.model.forward(images()).value());
  int correct = 0;
  for (int64_t n = 0; n < kImages; ++n) correct += most_likely(p[static_cast<size_t>(n)]) == n % 10;
  EXPECT_DOUBLE_EQ(accuracy, correct / 12.0);
  EXPECT_GE(correct, 4);
}

TEST(TrainJudges, TheVaeReportsItsDivergenceFromThePrior) {
  const std::string out = fresh();
  const double nats = reported("vae", out, "test_divergence_nats");
  const NoGrad no_grad;
  const auto vae = load_model<Vae>(out, Target::cpu);
  const std::vector<float> q = vae.model.encode(images()).value().to_vector();  // [12, 3 + 3]
  double sum = 0;
  for (int64_t n = 0; n < kImages; ++n)
    for (int64_t i = 0; i < 3; ++i) {
      const double mean = q[static_cast<size_t>(n * 6 + i)],
                   log_variance = q[static_cast<size_t>(n * 6 + 3 + i)];
      sum += 0.5 * (mean * mean + std::exp(log_variance) - log_variance - 1);
    }
  EXPECT_NEAR(nats, sum / 12, 1e-4 * (1 + nats));
  EXPECT_GT(nats, 0);
}

TEST(TrainJudges, TheAutoencodersReportTheirErrors) {
  const std::string out = fresh();
  const double own = reported("autoencoder", out, "test_mse_own_class"),
               all = read_json(fs::path(out) / "evaluation.json")["test_mse_all"];
  const NoGrad no_grad;
  const auto networks = load_model<Autoencoders>(out, Target::cpu);
  double own_sum = 0, all_sum = 0;
  for (int64_t n = 0; n < kImages; ++n) {
    std::vector<float> u = images().slice(n, n + 1).to_vector();
    for (float& v : u) v = (v + 1) / 2;
    const Tensor image = Tensor::from(u, {1, kSide, kSide, 1});
    const auto error = [&](const Autoencoder& network) {
      const std::vector<float> y = network.forward(image).value().to_vector();
      double sum = 0;
      for (size_t i = 0; i < u.size(); ++i) sum += (y[i] - u[i]) * (y[i] - u[i]);
      return sum / static_cast<double>(u.size());
    };
    own_sum += error(networks.model.of_class(n % 10));
    all_sum += error(networks.model.of_all());
  }
  EXPECT_NEAR(own, own_sum / 12, 1e-5);
  EXPECT_NEAR(all, all_sum / 12, 1e-5);
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
  refused("oracle", {"--set", "oracle.channels=[12]"}, "multiples of 8");
  refused("autoencoder", {"--init", world().unet()}, "not for autoencoders");
  for (const auto& [kind, wish] :
       {std::pair{"vae", "vae.image_size=16"}, {"autoencoder", "autoencoders.classes=9"}})
    expect_failure(diffscm(train_judge(kind, fresh()) + Arguments{"--set", wish}), 2, wish);
}

// The entries of [train.vae] that are no other network's belong to what a run resumes with.
TEST(TrainJudges, ResumeOnlyWithTheSameLoss) {
  const std::string out = fresh();
  expect_success(diffscm(train_judge("vae", out) + Arguments{"--steps", "1"}));
  expect_failure(diffscm(train_judge("vae", out) +
                         Arguments{"--steps", "2", "--resume", "--set", "train.vae.beta=0.5"}),
                 1, "trained with beta = 0.25, now it is 0.5");
}

TEST(TrainJudges, LabelsAndClassesAreCheckedBeforeTheFirstStep) {
  auto arrays = io::read_npz(world().data());
  const fs::path gap = world() / "gap.npz", unlabelled = world() / "bare.npz";
  io::write_npz(unlabelled, {{"images", arrays.at("images")}});
  arrays.at("labels") =
      io::NpyArray::from(std::vector<int64_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 4}, {kImages});
  io::write_npz(gap, arrays);
  const auto refused = [&](const char* kind, const fs::path& data, const char* part) {
    const std::string out = fresh();
    Arguments a = train_judge(kind, out);
    *(std::find(a.begin(), a.end(), world().data())) = data;
    expect_failure(diffscm(a), 1, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused("oracle", unlabelled, "no labels");
  refused("autoencoder", unlabelled, "no labels");
  refused("autoencoder", gap, "no image of class 3");
}

}  // namespace
}  // namespace diffscm
