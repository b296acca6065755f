// Weights out of the house and back, and those that others trained.
#include "engine/io/torch_file.h"
#include "models/classifier.h"
#include "models/foreign_weights.h"
#include "models/unet.h"
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

// A new file of that ending, not yet there.
std::string fresh_file(const std::string& ending) {
  return fresh() + ending;
}

const Arguments kUnetSize{"--set", "image_size=8", "--set", "heads=1"};

void expect_same_tensors(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_EQ(tensor.shape(), b.at(name).shape()) << name;
    ASSERT_EQ(tensor.to_vector(), b.at(name).to_vector()) << name;
  }
}

NamedTensors tensors_of(const std::string& run) {
  return read_model(run).second;
}

// Writes the tensors as a .pt file and imports it.
Result import(const NamedTensors& tensors, const Arguments& more, const std::string& out) {
  const std::string file = fresh_file(".pt");
  io::write_torch_file(file, tensors);
  return diffscm(Arguments{"import", file, "--out", out} + more);
}

TEST(Import, WhatWasExportedComesBack) {
  for (const char* ending : {".pt", ".safetensors"}) {
    SCOPED_TRACE(ending);
    // In folders that are not there yet.
    const std::string exported = fresh() + "/new/out" + ending,
                      unet = fresh() + "/new/unet.safetensors",
                      classifier = fresh_file(".safetensors");
    expect_success(diffscm({"export", world().unet(), "--out", exported}));
    expect_success(diffscm(
        Arguments{"import", exported, "--out", unet, "--set", "sampling_steps=5"} + kUnetSize));
    expect_same_tensors(tensors_of(unet), tensors_of(world().unet()));
    const json mine = read_model_info(unet).config, theirs = read_model_info(world().unet()).config;
    for (const auto& [key, value] : theirs.items()) {
      if (key == "dropout") continue;  // no file says it
      EXPECT_EQ(mine.value(key, json()), value) << key;
    }

    expect_success(diffscm({"export", world().classifier(), "--out", exported}));
    expect_success(diffscm({"import", exported, "--out", classifier, "--set", "image_size=8",
                            "--set", "head_channels=32", "--set", "sampling_steps=5"}));
    expect_same_tensors(tensors_of(classifier), tensors_of(world().classifier()));
    EXPECT_EQ(read_model_info(classifier).config, read_model_info(world().classifier()).config);

    // And answers as before.
    const std::string before = fresh(), after = fresh();
    expect_success(diffscm(counterfactual(before)));
    Arguments again = counterfactual(after);
    again[2] = unet;
    again[4] = classifier;
    expect_success(diffscm(again));
    expect_close(io::read_npz(fs::path(before) / "counterfactuals.npz").at("counterfactual"),
                 io::read_npz(fs::path(after) / "counterfactuals.npz").at("counterfactual"), 0);
  }
}

TEST(Import, ExportsInSixteenBitsMayStayModels) {
  const std::string half = fresh_file(".safetensors"), again = fresh_file(".safetensors"),
                    torch = fresh_file(".pt"), imported = fresh_file(".safetensors");
  expect_success(
      diffscm({"export", world().unet(), "--out", half, "--dtype", "f16", "--keep-metadata"}));
  EXPECT_EQ(read_model_info(half).config, read_model_info(world().unet()).config);
  const NamedTensors exact = tensors_of(world().unet());
  for (const auto& [name, tensor] : tensors_of(half)) {
    const std::vector<float> rounded = tensor.to_vector(), whole = exact.at(name).to_vector();
    ASSERT_EQ(rounded.size(), whole.size());
    for (size_t i = 0; i < whole.size(); ++i)
      ASSERT_NEAR(rounded[i], whole[i], std::abs(whole[i]) * 0x1p-11f + 0x1p-25f) << name;
  }
  // What f16 can hold stays: written once more in f32, or through a .pt file, nothing is lost.
  expect_success(diffscm({"export", half, "--out", again, "--keep-metadata"}));
  expect_same_tensors(tensors_of(again), tensors_of(half));
  EXPECT_LT(fs::file_size(half), fs::file_size(again) * 6 / 10);
  expect_success(diffscm({"export", world().unet(), "--out", torch, "--dtype", "f16"}));
  expect_success(diffscm(Arguments{"import", torch, "--out", imported} + kUnetSize));
  expect_same_tensors(tensors_of(imported), tensors_of(half));
  expect_failure(diffscm({"export", half, "--out", torch, "--keep-metadata"}), 2,
                 "--keep-metadata");
}

TEST(Import, SafetensorsNeedNoMetadata) {
  const std::string file = fresh_file(".safetensors"), out = fresh_file(".safetensors");
  io::write_safetensors(file, {tensors_of(world().unet()), {}});
  expect_success(diffscm(Arguments{"import", file, "--out", out} + kUnetSize));
  expect_same_tensors(tensors_of(out), tensors_of(world().unet()));
  expect_failure(diffscm(Arguments{"import", out, "--out", fresh_file(".safetensors")} + kUnetSize),
                 1, "diffscm.model.v1");
}

TEST(Import, APresetSaysWhatTheFileDoesNot) {
  const std::string exported = fresh_file(".pt"), out = fresh_file(".safetensors");
  expect_success(diffscm({"export", world().unet(), "--out", exported}));
  const Result r = diffscm({"import", exported, "--out", out, "--preset", world().preset()});
  expect_success(r);
  EXPECT_NE(r.err.find("heads = 1, image_size = 8"), std::string::npos) << r.err;
  EXPECT_EQ(read_model_info(out).config, read_model_info(world().unet()).config);
  EXPECT_EQ(read_model_info(out).diffusion, read_model_info(world().unet()).diffusion);
  const std::string classifier = fresh_file(".pt");
  expect_success(diffscm({"export", world().classifier(), "--out", classifier}));
  expect_success(diffscm({"import", classifier, "--out", out, "--preset", world().preset()}));
  EXPECT_EQ(read_model_info(out).config, read_model_info(world().classifier()).config);
  expect_failure(diffscm({"import", exported, "--out", out, "--preset", "mnist"}), 1,
                 "channel_mult is [1,1], of the preset [1,2,2]");
}

TEST(Import, PrefixesAndDeadTensorsAreNamed) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : tensors_of(world().unet())) tensors["module." + name] = tensor;
  tensors["module.class_embed.0.weight"] = Tensor::zeros({4, 4});
  tensors["module.middle_block.1.encoder_kv.weight"] = Tensor::zeros({64, 128, 1});
  const std::string out = fresh_file(".safetensors");
  const Result r = import(tensors, kUnetSize, out);
  expect_success(r);
  EXPECT_NE(r.err.find("'module.' stripped"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("2 tensors of class_embed and encoder_kv"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("assumed: norm_groups = 32"), std::string::npos) << r.err;
  expect_same_tensors(tensors_of(out), tensors_of(world().unet()));
}

TEST(Import, ReportsMissingMisshapenAndExtraTensors) {
  NamedTensors tensors = tensors_of(world().unet());
  tensors.erase("out.0.weight");
  tensors["out.0.bias"] = Tensor::zeros({5});
  tensors["surplus"] = Tensor::zeros({2});
  tensors["time_embed.0.bias"] = Tensor::zeros({1});
  const Result r = import(tensors, kUnetSize, fresh_file(".safetensors"));
  expect_failure(r, 1, "(4 differences): \"out.0.weight\" is missing; ");
  EXPECT_NE(r.err.find("\"time_embed.0.bias\" is f32 [1], not f32 [128]"), std::string::npos);
}

TEST(Import, NamesWhatItNeedsToBeTold) {
  const NamedTensors unet = tensors_of(world().unet()),
                     classifier = tensors_of(world().classifier());
  const std::string out = fresh_file(".safetensors");
  expect_failure(import(unet, {}, out), 1, "--set heads=N --set image_size=N");
  expect_failure(import(classifier, {}, out), 1, "may be 3 or 1 per level");
  expect_failure(import(unet, {"--set", "heads"}, out), 2, "KEY=VALUE");
  expect_failure(import(unet, {"--set", "heads=two"}, out), 2, "whole number");
  expect_failure(import(unet, {"--set", "layers=2"}, out), 2, "image_size");
  expect_failure(import(unet, {"--set", "image_size=7", "--set", "heads=1"}, out), 1, "halved");
  expect_failure(import(unet, {"--set", "image_size=8", "--set", "head_channels=5"}, out), 1,
                 "32 channels are not a multiple of 'head_channels' = 5");
  expect_failure(import(unet, kUnetSize + Arguments{"--set", "schedule=square"}, out), 1, "square");
  EXPECT_FALSE(fs::exists(out));
  expect_success(import(unet, {"--set", "image_size=8", "--set", "head_channels=16"}, out));
  EXPECT_EQ(read_model_info(out).config["head_channels"], 16);
}

TEST(Import, NamesWhatItsNetworksCannotDo) {
  const NamedTensors unet = tensors_of(world().unet());
  const std::string out = fresh_file(".safetensors");
  const auto with = [&](const std::string& name, const Shape& shape) {
    NamedTensors changed = unet;
    changed[name] = Tensor::zeros(shape);
    return import(changed, kUnetSize, out);
  };
  expect_failure(with("out.2.weight", {3, 32, 3, 3}), 1, "'out_channels' is 3");
  expect_failure(with("label_emb.weight", {3, 32}), 1, "goes through attention");
  expect_failure(import({{"conv1.weight", Tensor::zeros({2})}}, {}, out), 1, "guided-diffusion");
}

// tests/models/diffusers_weights_test.cpp holds the tensors to diffusers' own answers.
TEST(Import, ReadsWhatDiffusersWrites) {
  const fs::path folder = fresh();
  fs::copy(DIFFSCM_GOLDEN "/diffusers/ddpm", folder);
  const std::string file = folder / "diffusion_pytorch_model.safetensors",
                    out = folder / "m.safetensors";
  const Arguments command{"import", file, "--out", out};
  const Result r = diffscm(command);
  expect_success(r);
  EXPECT_NE(r.err.find("UNet2DModel"), std::string::npos) << r.err;
  const ModelInfo info = read_model_info(out);
  const auto config = info.config.get<UNetConfig>();
  EXPECT_TRUE(config.turned);
  EXPECT_TRUE(config.last_frequency);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.image_size, 8);
  EXPECT_EQ(info.diffusion["timesteps"], 1000);
  expect_success(
      diffscm({"sample", "--model", out, "--count", "1", "--steps", "3", "--out", fresh()}));

  const Result exported = diffscm({"export", out, "--out", fresh_file(".pt")});
  expect_success(exported);
  EXPECT_NE(exported.err.find("turned = true"), std::string::npos) << exported.err;

  expect_failure(diffscm(command + Arguments{"--set", "image_size=16"}), 2, "config.json\" says 8");
  expect_failure(diffscm(command + Arguments{"--set", "heads=2"}), 2, "heads");
  testing::put(folder / "scheduler_config.json", R"({"prediction_type": "v_prediction"})");
  expect_failure(diffscm(command), 1, "scheduler_config.json\": \"prediction_type\"");
  testing::put(folder / "config.json", "{");
  expect_failure(diffscm(command), 1, "it is not JSON");
  fs::remove(folder / "config.json");
  expect_failure(diffscm(command), 1, "config.json");
}

TEST(Import, PresetsOfPublishedModelsAreCounted) {
  const auto parameters = [](const std::string& preset) {
    const Result r = diffscm({"inspect", preset, "--json"});
    expect_success(r);
    const json d = json::parse(r.out);
    return std::pair<int64_t, int64_t>{d.at("unet").at("parameters"),
                                       d.at("classifier").at("parameters")};
  };
  EXPECT_EQ(parameters("adm-64"), std::pair(295'904'454L, 65'438'568L));
  EXPECT_EQ(parameters("adm-128"), std::pair(421'529'606L, 42'568'040L));
  EXPECT_EQ(parameters("adm-256"), std::pair(553'838'086L, 54'096'360L));
  EXPECT_EQ(parameters("adm-256-unconditional"), std::pair(552'814'086L, 54'096'360L));
  EXPECT_EQ(parameters("adm-512"), std::pair(558'997'638L, 54'448'360L));
}

TEST(Import, RefusesFilesAndNamesThatAreNone) {
  const std::string out = fresh_file(".safetensors"), model = world().unet() + "/model.safetensors";
  expect_failure(diffscm({"import", model, "--out", out}), 1, "nothing to import");
  expect_failure(diffscm({"import", world().data(), "--out", out}), 1, "no record NAME/data.pkl");
  expect_failure(diffscm({"import", "nowhere.pt", "--out", out}), 1, "nowhere.pt");
  expect_failure(diffscm({"import", model, "--out", "model.bin"}), 2, ".safetensors");
  expect_failure(diffscm({"import", model, "--out", model}), 2, "the file to import");
  expect_failure(diffscm({"export", model, "--out", model}), 2, "the model to export");
  expect_failure(diffscm({"export", world().unet(), "--out", model}), 2, "the model to export");
  expect_failure(diffscm({"export", model, "--out", "model.onnx"}), 2, ".pt, .pth");
}

// Diff-SCM's own classifiers have the pool's rows head by head, and encoder_kv, which nothing
// reads.
TEST(Import, BringsAttentionIntoOurOrder) {
  NamedTensors tensors = tensors_of(world().classifier());
  const std::string out = fresh_file(".safetensors"), pool = "out.2.qkv_proj.weight";
  const Tensor before = tensors.at(pool);
  const Arguments told{"--set", "image_size=8", "--set", "head_channels=16"};
  expect_success(import(tensors, told, out));
  EXPECT_EQ(tensors_of(out).at(pool).to_vector(), before.to_vector());
  tensors["middle_block.1.encoder_kv.weight"] = Tensor::zeros({64, 128, 1});
  expect_success(import(tensors, told, out));
  EXPECT_EQ(tensors_of(out).at(pool).to_vector(), chunked_from_per_head(before, 2).to_vector());
  EXPECT_NE(tensors_of(out).at(pool).to_vector(), before.to_vector());

  NamedTensors unet = tensors_of(world().unet());
  const std::string qkv = "middle_block.1.qkv.bias";
  expect_success(import(
      unet, {"--set", "image_size=8", "--set", "heads=2", "--set", "use_new_attention_order=true"},
      out));
  EXPECT_EQ(tensors_of(out).at(qkv).to_vector(),
            per_head_from_chunked(unet.at(qkv), 2).to_vector());
  EXPECT_NE(tensors_of(out).at(qkv).to_vector(), unet.at(qkv).to_vector());
}

// Both orders of a projection's rows in two heads of one channel.
TEST(Import, OrdersOfAttention) {
  const Tensor per_head = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {6});  // q k v q k v
  const Tensor chunked = chunked_from_per_head(per_head, 2);
  EXPECT_EQ(chunked.to_vector(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(per_head_from_chunked(chunked, 2).to_vector(), per_head.to_vector());
}

}  // namespace
}  // namespace diffscm
