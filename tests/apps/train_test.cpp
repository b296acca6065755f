// diffscm train: what a run leaves, resuming it, refusing it.
#include "engine/io/png.h"
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

TEST(Train, LeavesAModelALogAndItsConfiguration) {
  const fs::path run = world().unet();
  for (const char* file : {"model.safetensors", "checkpoint.safetensors", "log.jsonl",
                           "config.json", "evaluation.json"})
    EXPECT_TRUE(fs::exists(run / file)) << file;
  const auto log = io::read_jsonl(run / "log.jsonl");
  ASSERT_EQ(log.size(), 2u);  // every 20 steps, and the last
  EXPECT_EQ(log.back()["step"], 30);
  EXPECT_EQ(read_json(run / "config.json")["unet"]["image_size"], 8);
  const auto metadata = io::read_safetensors(run / "model.safetensors").metadata;
  const json training = json::parse(metadata.at("training"));
  EXPECT_EQ(training["samples_seen"], 120);
  EXPECT_NE(training["command"].get<std::string>().find("train diffusion"), std::string::npos);
  EXPECT_EQ(json::parse(metadata.at("data"))["size"], kImages);
  const json record = read_json(run / "run.json");
  EXPECT_EQ(record["options"]["data"], world().data());
  EXPECT_EQ(record["options"]["log_every"], 20);
  EXPECT_EQ(record["precision"], "f32");
}

TEST(Train, TheClassifierReportsItsAccuracyByNoiseLevel) {
  const json levels =
      read_json(fs::path(world().classifier()) / "evaluation.json")["accuracy_by_noise_level"];
  ASSERT_EQ(levels.size(), 11u);
  EXPECT_EQ(levels.front()["timestep"], 0);
  EXPECT_EQ(levels.back()["timestep"], 999);
  // Of the twelve images that it was trained on: it knows them clean, and cannot know them in
  // noise.
  EXPECT_GE(levels.front()["accuracy"], 10.0 / 12);
  EXPECT_LE(levels.back()["accuracy"], 5.0 / 12);
  EXPECT_GT(levels.front()["alpha_bar"], 0.999);
  EXPECT_LT(levels.back()["alpha_bar"], 1e-3);
}

TEST(Train, MeasuresTheResultInTheMemoryOfAMicroBatch) {
  constexpr int64_t kLarge = 64, kTested = 16;
  const fs::path data = world() / "tested.npz";
  const auto images = io::NpyArray::from(std::vector<float>(kTested * kLarge * kLarge, 0.5f),
                                         {kTested, kLarge, kLarge, 1});
  std::vector<int64_t> classes(kTested);
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<int64_t>(i) % 10;
  const auto labels = io::NpyArray::from(classes, {kTested});
  io::write_npz(data, {{"train_images", images},
                       {"test_images", images},
                       {"train_labels", labels},
                       {"test_labels", labels}});
  for (const char* kind : {"diffusion", "classifier"}) {
    const auto peak = [&](const char* part) {
      const std::string out = fresh();
      expect_success(
          diffscm({"train", kind, "--preset", world().preset(), "--data", data.string(), "--out",
                   out, "--steps", "1", "--batch", "8", "--micro-batch", part, "--quiet"}));
      return read_json(fs::path(out) / "evaluation.json")["peak_memory_mib"].get<double>();
    };
    EXPECT_LT(peak("1"), peak("4") / 2) << kind;
  }
}

TEST(Train, FlagsOverrideThePreset) {
  const std::string out = fresh();
  const Result r =
      diffscm(train("diffusion", out) +
              Arguments{"--steps", "4", "--batch", "2", "--seed", "9", "--log-every", "1", "--set",
                        "train.diffusion.lr=5e-4", "--set", "diffusion.schedule=cosine", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["end"], "finished");
  const auto log = io::read_jsonl(fs::path(out) / "log.jsonl");
  ASSERT_EQ(log.size(), 4u);
  EXPECT_EQ(log[3]["lr"], 5e-4);
  const auto metadata = io::read_safetensors(fs::path(out) / "model.safetensors").metadata;
  EXPECT_EQ(json::parse(metadata.at("training"))["seed"], 9);
  EXPECT_EQ(json::parse(metadata.at("diffusion"))["schedule"], "cosine");
}

TEST(Train, ThePresetsHaveTheParametersOfDiffScm) {
  const fs::path data = world() / "data28.npz";
  write_data(data, 28);
  for (const auto& [preset, kind, count] : {std::tuple{"mnist-fast", "diffusion", "1140929"},
                                            {"mnist-paper", "diffusion", "10601473"}}) {
    const std::string out = fresh();
    const Result r = diffscm({"train", kind, "--preset", preset, "--data", data, "--out", out,
                              "--steps", "1", "--batch", "1"});
    expect_success(r);
    EXPECT_NE(r.err.find(std::string(count) + " parameters"), std::string::npos) << r.err;
    fs::remove_all(out);
  }
}

TEST(Train, TheTinyPresetLearnsFromTheBuiltInDigits) {
  const std::string out = fresh();
  expect_success(diffscm({"train", "diffusion", "--preset", "tiny", "--data", "digits", "--out",
                          out, "--steps", "20", "--batch", "4", "--log-every", "10", "--quiet"}));
  // From about 1, the mean square of the noise, that predicting nothing costs.
  const auto log = io::read_jsonl(out + "/log.jsonl");
  EXPECT_GT(log.front()["loss"], 0.5);
  EXPECT_LT(log.back()["loss"], 0.7 * log.front()["loss"].get<double>());
  const json evaluation = read_json(out + "/evaluation.json");  // on test images
  EXPECT_LT(evaluation.at("test_loss").get<double>(), 0.5);
  EXPECT_FALSE(evaluation.contains("test_loss_told"));
  expect_success(diffscm({"abduct", "--model", out, "--data", "digits", "--index", "3,5", "--out",
                          fresh(), "--steps", "2", "--quiet"}));
  const Result r = diffscm({"inspect", "digits", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["test"]["images_per_class"].size(), 10u);
}

TEST(Train, KilledAndResumedEndsWithTheSameModel) {
  const std::string whole = fresh(), parts = fresh();
  const Arguments flags{"--steps", "60", "--checkpoint-every", "5", "--log-every", "1", "--quiet"};
  expect_success(diffscm(train("diffusion", whole) + flags));
  Program program(world().path(), train("diffusion", parts) + flags);
  ASSERT_TRUE(program.run_until([&] { return fs::exists(parts + "/checkpoint.safetensors"); }));
  program.signal(SIGKILL);
  ASSERT_EQ(program.wait().code, 1000 + SIGKILL) << "it ended before it could be killed";
  ASSERT_FALSE(fs::exists(parts + "/evaluation.json"));
  expect_success(diffscm(train("diffusion", parts) + flags + Arguments{"--resume"}));
  expect_same_models(whole, parts);
  const auto log = io::read_jsonl(parts + "/log.jsonl");
  ASSERT_EQ(log.size(), 60u);
  for (size_t i = 0; i < 60; ++i) EXPECT_EQ(log[i]["step"], i + 1);
}

TEST(Train, CtrlCSavesACheckpointAndExits130) {
  const std::string out = fresh();
  const Arguments flags{"--steps", "100000", "--log-every", "1"};
  for (const bool resume : {false, true}) {
    Program program(world().path(), train("diffusion", out) + flags +
                                        (resume ? Arguments{"--resume"} : Arguments{}));
    const size_t before = resume ? io::read_jsonl(out + "/log.jsonl").size() : 0;
    ASSERT_TRUE(program.run_until([&] {
      return fs::exists(out + "/log.jsonl") &&
             io::read_jsonl(out + "/log.jsonl").size() > before + 2;
    }));
    program.signal(resume ? SIGTERM : SIGINT);
    const Result r = program.wait();
    EXPECT_EQ(r.code, 130) << r.err;
    EXPECT_NE(r.err.find("--resume"), std::string::npos) << r.err;
    const auto metadata = io::read_safetensors(out + "/model.safetensors").metadata;
    EXPECT_EQ(json::parse(metadata.at("training"))["steps"],
              io::read_jsonl(out + "/log.jsonl").back()["step"]);
  }
}

TEST(Train, ARefusedRunLeavesTheOldOneAsItWas) {
  const std::string out = fresh();
  const Arguments base = train("diffusion", out) + Arguments{"--steps", "2", "--quiet"};
  expect_success(diffscm(base));
  std::map<std::string, std::string> before;
  for (const auto& file : fs::directory_iterator(out))
    before[file.path().string()] = testing::get(file.path());
  const Arguments other{"--set", "train.diffusion.lr=0.5"};
  expect_failure(diffscm(base + other), 1, "add --resume");
  expect_failure(diffscm(base + other + Arguments{"--resume"}), 1, "trained with lr = 0.002");
  for (const auto& [path, bytes] : before) EXPECT_EQ(testing::get(path), bytes) << path;
}

TEST(Train, ResumesOnlyWithWhatChangesNoResult) {
  const std::string out = fresh();
  const Arguments base = train("diffusion", out) + Arguments{"--quiet"};
  expect_success(diffscm(base + Arguments{"--steps", "1"}));
  const Arguments resume = base + Arguments{"--steps", "2", "--resume"};
  expect_failure(diffscm(resume + Arguments{"--device", "emu", "--precision", "bf16"}), 1,
                 "trained with precision = \"f32\", now it is \"bf16\"");
  expect_failure(diffscm(resume + Arguments{"--init", world().unet()}), 1, "trained with init");
  const fs::path other = world() / "other" / "data.npz";  // of the same name and shape
  fs::create_directories(other.parent_path());
  auto arrays = io::read_npz(world().data());
  arrays.at("images").bytes[3] ^= 1;
  io::write_npz(other, arrays);
  Arguments of_other = resume;
  *std::find(of_other.begin(), of_other.end(), world().data()) = other;
  expect_failure(diffscm(of_other), 1, "trained with data_sha256");
  expect_success(diffscm(resume + Arguments{"--log-every", "1", "--checkpoint-every", "7"}));
}

TEST(Train, ATrainedRunCanBeTrainedOnButNotShortened) {
  const std::string parts = fresh(), whole = fresh();
  const auto steps = [](const char* n) { return Arguments{"--steps", n}; };
  expect_success(diffscm(train("diffusion", whole) + steps("5") + Arguments{"--quiet"}));
  expect_success(diffscm(train("diffusion", parts) + steps("3") + Arguments{"--quiet"}));
  expect_failure(diffscm(train("diffusion", parts) + steps("2") + Arguments{"--resume", "--quiet"}),
                 1, "only more are possible");
  const Result r = diffscm(train("diffusion", parts) + steps("5") + Arguments{"--resume"});
  expect_success(r);
  EXPECT_NE(r.err.find("planned for 3 steps, now 5"), std::string::npos) << r.err;
  expect_same_models(whole, parts);
}

// Colour images of 16 pixels a side and three classes, with the preset of 8x8 grey ones and ten.
TEST(Train, SizeChannelsAndClassesComeFromTheData) {
  const fs::path data = world() / "colours.npz";
  std::vector<float> pixels(6 * 16 * 16 * 3, -1.0f);
  for (size_t i = 0; i < pixels.size(); ++i)
    if (i % 3 == i / (16 * 16 * 3) % 3) pixels[i] = 1;  // image n is of colour n % 3
  io::write_npz(data,
                {{"images", io::NpyArray::from(pixels, {6, 16, 16, 3})},
                 {"labels", io::NpyArray::from(std::vector<int64_t>{0, 1, 2, 0, 1, 2}, {6})}});
  const auto with = [&](const char* kind, const std::string& out, const Arguments& more) {
    return diffscm(Arguments{"train", kind, "--preset", world().preset(), "--data", data, "--out",
                             out, "--steps", "1"} +
                   more);
  };
  const std::string unet = fresh(), classifier = fresh();
  const Result r = with("diffusion", unet, {});
  expect_success(r);
  EXPECT_NE(r.err.find("unet.image_size = 16, unet.in_channels = 3, unet.out_channels = 3"),
            std::string::npos)
      << r.err;
  EXPECT_EQ(read_json(unet + "/config.json")["unet"]["in_channels"], 3);
  const Result c = with("classifier", classifier, {});
  expect_success(c);
  EXPECT_NE(c.err.find("classifier.classes = 3"), std::string::npos) << c.err;
  expect_success(diffscm({"counterfactual", "--model", unet, "--classifier", classifier, "--data",
                          data, "--index", "0:2", "--do", "class=2", "--out", fresh()}));
  for (const char* wish : {"classifier.classes=10", "classifier.image_size=8"}) {
    const std::string out = fresh();
    expect_failure(with("classifier", out, {"--quiet", "--set", wish}), 2, wish);
    EXPECT_TRUE(is_empty(out));
  }
}

TEST(Train, AWholeNumberOfAPresetIsNotCutOff) {
  const std::string out = fresh();
  for (const auto& [entry, other] : {std::pair{"batch = 4\n", "batch = 4.7"},
                                     std::pair{"timesteps = 1000\n", "timesteps = 4294968296"}}) {
    std::string preset = kPreset;
    ASSERT_NE(preset.find(entry), std::string::npos);
    preset.replace(preset.find(entry), std::string_view(entry).size(), std::string(other) + "\n");
    testing::put(world() / "cut.toml", preset);
    Arguments a = train("diffusion", out) + Arguments{"--steps", "1"};
    a[3] = world() / "cut.toml";
    expect_failure(diffscm(a), 1, other);
    EXPECT_TRUE(is_empty(out));
  }
}

TEST(Train, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const Arguments diffusion{"train", "diffusion"};
  const Arguments preset{"--preset", world().preset()}, data{"--data", world().data()};
  const Arguments good = diffusion + preset + data;
  refused(diffusion + data, 2, "--preset");
  refused(good + Arguments{"--frobnicate"}, 2, "--frobnicate");
  refused(good + Arguments{"--steps", "0"}, 2, "--steps");
  refused(good + Arguments{"--steps", "many"}, 2, "--steps");
  refused(good + Arguments{"--steps", ""}, 2, "--steps");
  refused(good + Arguments{"--steps", "99999999999999999999"}, 2, "from 1 to 1000000000");
  refused(good + Arguments{"--seed", "18446744073709551616"}, 2, "to 18446744073709551615");
  refused(good + Arguments{"--minutes", "0"}, 2, "--minutes \"0\": give a number above 0");
  refused(good + Arguments{"--minutes", "1e999"}, 2, "--minutes");
  refused(good + Arguments{"--threads", "1.5"}, 2, "--threads");
  refused(good + Arguments{"--batch", "-1"}, 2, "--batch");
  refused(good + Arguments{"--seed", "-1"}, 2, "--seed");
  refused(good + Arguments{"--device", "abacus"}, 2, "abacus");
  refused(good + Arguments{"--device", "cuda"}, 1, "cuda");
  refused(good + Arguments{"--precision", "bf16"}, 1, "bf16");
  refused(good + Arguments{"--precision", "f8"}, 2, "f8");
  refused(good + Arguments{"--threads", "-1"}, 2, "-1");
  refused(diffusion + data + Arguments{"--preset", "huge"}, 1, "mnist-fast");
  refused(diffusion + data + Arguments{"--preset", world().data()}, 1, "data.npz");
  refused(diffusion + preset + Arguments{"--data", "nowhere.npz"}, 1, "nowhere.npz");
  testing::put(world() / "odd.toml", std::string(kPreset) + "speed = 3\n");
  refused(Arguments{"train", "classifier"} + data + Arguments{"--preset", world() / "odd.toml"}, 1,
          "unknown train.classifier.speed");
  for (const auto& [text, part] :
       {std::pair{"[conditon]\nattributes = [\"class\"]\n", "unknown conditon: there are"},
        {"[condition]\nattribute = []\n", "unknown condition.attribute"},
        {"[train.difusion]\nsteps = 3\n", "unknown train.difusion"}}) {
    testing::put(world() / "odd.toml", std::string(kPreset) + text);
    refused(diffusion + data + Arguments{"--preset", world() / "odd.toml"}, 1, part);
  }
  refused(good + Arguments{"--init", world().classifier()}, 1, "kind is classifier, expected unet");
  refused(Arguments{"train", "classifier", "--set", "train.classifier.match=1"} + preset + data, 1,
          "needs --model");
  const auto set = [&](const std::string& text, int code, std::string_view part) {
    refused(good + Arguments{"--set", text}, code, part);
  };
  set("train.diffusion.lr", 2, "expected name=value");
  set("train.diffusion.speed=1", 2, "no entry");
  set("train.diffusion=1", 2, "is a section");
  set("train.diffusion.lr=fast", 2, "fast");
  set("train.diffusion.batch=1.5", 2, "1.5");
  set("train.diffusion.batch=0", 1, "batch 0");
  set("train.diffusion.warmup_steps=-5", 1, "-5");
  set("train.diffusion.weight_decay=-1", 1, "weight_decay");
  set("train.diffusion.lr=-1", 1, "lr is -1");
  set("train.diffusion.loss=huber", 1, "huber");
  set("train.diffusion.shift=4", 1, "shift is 4, must be in [0,");
  set("diffusion.sampling_steps=0", 1, "0");
  set("diffusion.timesteps=2", 1, "2");
  set("diffusion.schedule=zigzag", 1, "zigzag");
  set("unet.image_size=16", 2, "unet.image_size=16");
  set("unet.model_channels=33", 1, "33");
  set("unet.model_channels=-32", 1, "-32");
  set("unet.heads=5", 1, "heads");
}

TEST(Train, WhatTheNetworksThatReadLabelsMissIsKnownBeforeTheFirstStep) {
  const fs::path data = world() / "unlabelled.npz";
  auto arrays = io::read_npz(world().data());
  const auto refused = [&](const char* kind, std::string_view part,
                           const std::string& preset = world().preset()) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(
        diffscm({"train", kind, "--preset", preset, "--data", data, "--out", out, "--quiet"}), 1,
        part);
    EXPECT_TRUE(is_empty(out));
  };
  const io::NpyArray labels = arrays.at("labels"), images = arrays.at("images");
  arrays.erase("labels");
  io::write_npz(data, arrays);
  refused("classifier", "no labels");
  io::write_npz(data,
                {{"train_images", images}, {"train_labels", labels}, {"test_images", images}});
  refused("classifier", "test");
  const fs::path told = world() / "told.toml";
  testing::put(told, std::string(kPreset) + "[condition]\nattributes = [\"class\"]\ndrop = 0.15\n");
  refused("diffusion", "none to test", told);
  const std::vector<int64_t> same(kImages, 1);
  io::write_npz(data, {{"images", images}, {"labels", io::NpyArray::from(same, {kImages})}});
  refused("classifier", "of one class only");
}

// Tensors of the same names and shapes are another network's where its norms have other groups.
TEST(Train, StartsFromTheSameNetworkOnly) {
  std::string preset = testing::get(world().preset());
  preset.replace(preset.find("heads = 1"), 9, "heads = 1\nnorm_groups = 8");
  const std::string other = fresh() + ".toml";
  testing::put(other, preset);
  Arguments a{"train",  "diffusion",    "--preset", other, "--data", world().data(),
              "--init", world().unet(), "--steps",  "1",   "--out",  fresh()};
  expect_failure(diffscm(a), 1, "its norm_groups is 32, here 8");
  a[3] = world().preset();
  expect_success(diffscm(a + Arguments{"--set", "unet.dropout=0.2"}));
  expect_failure(diffscm(a + Arguments{"--set", "unet.channel_mult=[1]"}), 1,
                 "--init " + world().unet() + ": its channel_mult");
}

// The sections [train.*] of the ImageNet presets, on networks of one narrow level.
TEST(Train, PresetsOfPublishedModelsSayHowTheyWereTrained) {
  const fs::path pictures = fresh();
  for (const char* name : {"0/a.png", "0/b.png", "1/a.png"}) {
    fs::create_directories((pictures / name).parent_path());
    io::write_png(pictures / name, {9, 10, 3, std::vector<uint8_t>(270, 99)});
  }
  for (const char* preset : {"adm-64", "adm-128", "adm-256", "adm-256-unconditional", "adm-512"})
    for (const auto& [kind, network] :
         {std::pair{"diffusion", std::string("unet")}, {"classifier", "classifier"}}) {
      SCOPED_TRACE(std::string(preset) + " " + kind);
      const std::string out = fresh();
      Arguments a{"train",   kind, "--preset", preset, "--data",  pictures.string() + ":size=8",
                  "--steps", "1",  "--batch",  "2",    "--quiet", "--out",
                  out};
      for (const char* value :
           {"model_channels=64", "channel_mult=[1]", "num_res_blocks=1", "attention_downsample=[]"})
        a = a + Arguments{"--set", network + "." + value};
      expect_success(diffscm(a));
      const json config = read_json(fs::path(out) / "config.json");
      EXPECT_EQ(config["train"][kind]["lr"],
                kind == std::string("classifier") || preset == std::string("adm-64") ? 3e-4 : 1e-4);
      if (kind != std::string("diffusion")) continue;
      EXPECT_EQ(config["unet"]["out_channels"], 6);
      EXPECT_TRUE(io::read_jsonl(fs::path(out) / "log.jsonl").back().contains("vlb"));
    }
}

// Half a test split is known before the first step, not after the last; none at all is said.
TEST(Train, WhatTheTestSplitLacksIsKnownBeforeTheFirstStep) {
  const fs::path folder = world() / "idx";
  fs::create_directories(folder);
  std::string images{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8};
  images.append(2 * 64, '\x7f');
  const std::string labels{0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
  testing::put(folder / "train-images-idx3-ubyte", images);
  testing::put(folder / "train-labels-idx1-ubyte", labels);
  testing::put(folder / "t10k-labels-idx1-ubyte", labels);
  const std::string out = fresh();
  const Arguments a{"train", "classifier", "--preset", world().preset(), "--data",
                    folder,  "--out",      out,        "--steps",        "1"};
  expect_failure(diffscm(a), 1, "t10k-images");
  EXPECT_TRUE(is_empty(out));
  fs::remove(folder / "t10k-labels-idx1-ubyte");
  for (const char* kind : {"classifier", "diffusion"}) {
    Arguments b = a;
    b[1] = kind;
    b[7] = fresh();
    const Result r = diffscm(b);
    expect_success(r);
    const size_t said = r.err.find("no test"), begun = r.err.find(" parameters");
    EXPECT_LT(said, begun) << r.err;
  }
}

}  // namespace
}  // namespace diffscm
