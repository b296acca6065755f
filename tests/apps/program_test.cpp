// The program as such: help, inspect, flag files, damaged models, odd paths.
#include "tests/apps/experiments.h"
#include "tests/data/environment.h"

namespace diffscm {
namespace {

TEST(Information, HelpAndVersionSucceed) {
  for (const Arguments& a :
       {Arguments{"--help"}, Arguments{"train", "--help"},
        Arguments{"train", "diffusion", "--help"}, Arguments{"counterfactual", "-h"},
        Arguments{"sample", "--help"}, Arguments{"abduct", "--help"},
        Arguments{"inspect", "--help"}, Arguments{"targets", "--help"}}) {
    const Result r = diffscm(a);
    EXPECT_EQ(r.code, 0);
    EXPECT_NE(r.out.find("--"), std::string::npos) << a[0];
    EXPECT_EQ(r.err, "");
  }
  const Result version = diffscm({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out.find("diffscm "), 0u) << version.out;
}

TEST(Information, TargetsListsTheCpusOperators) {
  const Result text = diffscm({"targets"});
  expect_success(text);
  EXPECT_NE(text.out.find("conv2d"), std::string::npos);
  const Result r = diffscm({"targets", "--json"});
  expect_success(r);
  EXPECT_EQ(json::parse(r.out)["cpu"]["operators"]["conv2d"], true);
}

TEST(Information, InspectDescribesModelsArchivesRunsAndData) {
  const Result model = diffscm({"inspect", world().unet() + "/model.safetensors", "--json"});
  expect_success(model);
  const json m = json::parse(model.out);
  EXPECT_EQ(m["metadata"]["kind"], "unet");
  EXPECT_EQ(m["metadata"]["config"]["model_channels"], 32);
  EXPECT_EQ(m["sha256"], io::sha256_of_file(world().unet() + "/model.safetensors"));
  EXPECT_EQ(m["tensors"]["out.2.weight"], (json{1, 32, 3, 3}));

  const Result memory = diffscm({"inspect", "adm-256-unconditional", "--memory", "--device", "cuda",
                                 "--precision", "bf16", "--json"});
  ASSERT_EQ(memory.code, 0) << memory.err;  // 2.1 GB of weights are not taken, nor is a GPU needed
  const json needs = json::parse(memory.out)["unet"];
  EXPECT_EQ(needs["device"], "cuda");
  EXPECT_NEAR(needs["weights_mib"].get<double>(), 552'814'086 * 4.0 / (1 << 20), 30);
  EXPECT_GT(needs["training_mib"], needs["training_recompute_mib"]);
  const Result npz = diffscm({"inspect", world().data(), "--json"});
  expect_success(npz);
  EXPECT_EQ(json::parse(npz.out)["arrays"]["images"],
            (json{{"dtype", "float32"}, {"shape", {12, 8, 8, 1}}}));
  EXPECT_NE(diffscm({"inspect", world().data()}).out.find("\n  images: float32 [12, 8, 8, 1]\n"),
            std::string::npos);

  const Result run = diffscm({"inspect", world().classifier(), "--json"});
  expect_success(run);
  EXPECT_EQ(json::parse(run.out)["evaluation.json"]["end"], "finished");
  EXPECT_EQ(json::parse(run.out)["model"]["metadata"]["kind"], "classifier");

  const Result text = diffscm({"inspect", world().unet()});
  expect_success(text);
  EXPECT_NE(text.out.find("kind: unet"), std::string::npos) << text.out;
}

TEST(Program, EndingsMayBeInCapitals) {
  const fs::path folder = fresh();
  fs::create_directory(folder);
  fs::copy_file(world().data(), folder / "DATA.NPZ");
  fs::copy_file(world().unet() + "/model.safetensors", folder / "MODEL.SAFETENSORS");
  testing::put(folder / "ROWS.CSV", "age,vaccinated,flu\n27,1,0\n");
  expect_success(diffscm({"inspect", folder / "DATA.NPZ"}));
  expect_success(diffscm({"inspect", folder / "MODEL.SAFETENSORS"}));
  expect_success(diffscm({"export", folder / "MODEL.SAFETENSORS", "--out", folder / "MODEL.PT"}));
  expect_success(
      diffscm({"abduct", "--model", folder / "MODEL.SAFETENSORS", "--data", folder / "DATA.NPZ",
               "--index", "0:2", "--steps", "2", "--out", fresh(), "--quiet"}));
  expect_success(diffscm({"scm", "show", "flu", "--out", folder / "FLU.SVG"}));
  expect_success(diffscm({"scm", "query", "flu", "--of", "flu=1", "--observed", folder / "ROWS.CSV",
                          "--do", "vaccinated=0", "--out", folder / "ANSWERS.CSV"}));
}

// scripts/demo.sh asks so whether MNIST is there.
TEST(Information, InspectMnistIsOfTheDataThoughAPresetHasItsName) {
  const testing::Variable data("DIFFSCM_DATA", (world() / "absent").string());
  expect_failure(diffscm({"inspect", "mnist"}), 1, "the variable DIFFSCM_DATA names");
}

TEST(Information, InspectRefusesWhatItDoesNotKnow) {
  expect_failure(diffscm({"inspect", "nowhere.safetensors"}), 1, "nowhere.safetensors");
  expect_failure(diffscm({"inspect", world().preset()}), 1, "cannot inspect");
  expect_failure(diffscm({"inspect"}), 2, "what");
}

TEST(Program, UsageErrorsExitWith2) {
  expect_failure(diffscm({}), 2, "subcommand");
  expect_failure(diffscm({"fly"}), 2, "fly");
  expect_failure(diffscm({"--frobnicate"}), 2, "--frobnicate");
  expect_failure(diffscm({"train"}), 2, "subcommand");
  expect_failure(diffscm({"train", "dragon"}), 2, "dragon");
  expect_failure(diffscm({"targets", "extra"}), 2, "extra");
  expect_failure(diffscm({"targets", "--threads", "two"}), 2, "--threads");
}

TEST(Program, AFlagIsNoOthersValue) {
  Arguments a = sample(fresh());
  a.insert(std::ranges::find(a, "--out") + 1, "--quiet");
  expect_failure(diffscm(a), 2, "--out lacks a value before \"--quiet\"");
  EXPECT_FALSE(fs::exists("--quiet"));
}

TEST(Program, ReadsFlagsFromAFileAndTheCommandLineWins) {
  const std::string config = world() / "flags.toml", out = fresh();
  testing::put(config, "model = \"" + world().unet() +
                           "\"\ncount = 3\nquiet = true\njson = false\nseed = 8\n");
  const Result r = diffscm({"sample", "--config", config, "--out", out, "--seed", "9"});
  expect_success(r);
  EXPECT_EQ(r.out + r.err, "");
  EXPECT_EQ(read_json(out + "/run.json")["seed"], 9);
  EXPECT_EQ(io::read_npz(out + "/samples.npz").at("samples").shape[0], 3);

  testing::put(config, "scale = [0.5, 2.0]\ndo = \"digit=3\"\njson = true\n");
  Arguments a = counterfactual(fresh());
  a.resize(a.size() - 2);  // without --do
  const Result several = diffscm(a + Arguments{"--config=" + config});
  expect_success(several);
  EXPECT_EQ(json::parse(several.out)["scales"][1]["scale"], 2.0);
}

TEST(Program, BadFlagFilesAreErrors) {
  const std::string config = world() / "bad.toml", out = fresh();
  const auto refused = [&](std::string_view text, int code, std::string_view part) {
    testing::put(config, text);
    expect_failure(diffscm(sample(out) + Arguments{"--config", config}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused("colour = 3\n", 2, "bad.toml: unknown argument --colour");
  refused("sampler = \"magic\"\n", 2, "bad.toml: --sampler \"magic\"");
  refused("steps = = 3\n", 1, "line 1");
  refused("[sample]\nsteps = 3\n", 1, "sample");
  refused("eta = true\nsteps = 3\n", 2, "bad.toml: --eta \"true\"");  // not what follows it
  refused("eta = false\n", 2, "bad.toml: --eta \"false\"");
  refused("eta = nan\n", 2, "bad.toml: --eta \"nan\"");
  refused("seed = 1\neta = 2026-11-27\n", 1, "bad.toml: line 2: dates and times");
  fs::remove(config);
  expect_failure(diffscm(sample(out) + Arguments{"--config", config}), 1, "bad.toml");
  testing::put(config, "steps = 3\n");
  const Result own = diffscm(sample(out) + Arguments{"--config", config, "--colour", "3"});
  expect_failure(own, 2, "unknown argument --colour");
  EXPECT_EQ(own.err.find("bad.toml"), std::string::npos) << "not the file's";
}

TEST(Program, ShippedModelsGoByTheirNames) {
  const std::string out = fresh(), file = DIFFSCM_WEIGHTS "/digits-unet.safetensors";
  expect_success(diffscm({"sample", "--model", "digits-unet", "--count", "1", "--steps", "1",
                          "--quiet", "--out", out}));
  EXPECT_EQ(read_json(out + "/run.json")["models"][0]["sha256"], io::sha256_of_file(file));
  expect_success(diffscm({"inspect", "digits-oracle"}));
  const Result r = diffscm({"sample", "--model", "digits-unit", "--out", fresh()});
  expect_failure(r, 1, "no model at \"digits-unit\"");
  for (const auto& shipped : fs::directory_iterator(DIFFSCM_WEIGHTS))
    if (shipped.path().extension() == ".safetensors") {
      EXPECT_NE(r.err.find(shipped.path().stem()), std::string::npos) << r.err;
    }
}

TEST(Program, DamagedModelsAreOneLineOrHarmless) {
  const std::string bytes = testing::get(world().unet() + "/model.safetensors");
  const std::string model = world() / "damaged.safetensors";
  const auto run = [&](const std::string& damaged) {
    testing::put(model, damaged);
    const std::string out = fresh();
    const Result r = diffscm({"sample", "--model", model, "--count", "1", "--out", out, "--quiet"});
    EXPECT_TRUE(r.code == 0 || r.code == 1) << r.code << r.err;
    if (r.code == 1) {
      expect_failure(r, 1, "damaged.safetensors");
      EXPECT_TRUE(is_empty(out));
    }
    return r.code;
  };
  for (const size_t length : {size_t{0}, size_t{5}, size_t{1000}, bytes.size() - 1})
    EXPECT_EQ(run(bytes.substr(0, length)), 1) << length;
  EXPECT_EQ(run(bytes + "x"), 1);
  for (size_t bit = 5; bit < 1500 * 8; bit += 1499) {
    SCOPED_TRACE("bit " + std::to_string(bit));
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    run(damaged);
  }
}

TEST(Program, HostileMetadataIsRefused) {
  io::Safetensors file = io::read_safetensors(world().unet() + "/model.safetensors");
  const std::string model = world() / "hostile.safetensors";
  const auto refused = [&](const char* key, const char* value, std::string_view part) {
    SCOPED_TRACE(value);
    io::Safetensors hostile = file;
    hostile.metadata[key] = value;
    io::write_safetensors(model, hostile);
    expect_failure(diffscm({"sample", "--model", model, "--out", fresh()}), 1, part);
  };
  refused("diffusion", "{}", "sampling_steps");
  refused("diffusion", R"({"schedule": "linear", "timesteps": 2000000000, "sampling_steps": 5})",
          "2000000000");
  refused("diffusion", R"({"schedule": "linear", "timesteps": 1000, "sampling_steps": -5})", "-5");
  refused("diffusion", R"({"schedule": 7, "timesteps": 1000, "sampling_steps": 5})", "schedule");
  refused("kind", "dragon", "dragon");
  refused("config", "{", "config");
}

TEST(Program, PathsThatAreNotUtf8AreFine) {
  const std::string out = fresh() + "\xff";
  const Result r = diffscm(sample(out));
  expect_success(r);
  EXPECT_TRUE(read_json(out + "/run.json")["command"].is_string());
  const std::string run = fresh() + "\xff";
  const Result trained = diffscm(train("diffusion", run) + Arguments{"--steps", "1", "--json"});
  expect_success(trained);
  EXPECT_TRUE(json::parse(trained.out).is_object());
  EXPECT_EQ(diffscm({"inspect", run, "--json"}).code, 0);
  expect_failure(
      diffscm(train("diffusion", fresh()) + Arguments{"--set", "diffusion.timesteps=\xff"}), 2,
      "--set");
}

TEST(Program, AnExperimentOnDataWithoutAUtf8NameResumes) {
  const fs::path data = world() / "d\xff.npz";
  write_data(data, kSide);
  Arguments command =
      tiny("sweep", fresh()) + Arguments{"--images", "2", "--scales", "1", "--abduction", "ddim"};
  *std::ranges::find(command, world().data()) = data;
  expect_success(diffscm(command));
  expect_success(diffscm(command + Arguments{"--resume"}));
}

TEST(Program, AnOutputFolderThatCannotBeMadeIsAnError) {
  expect_failure(diffscm(sample(world().data() + "/folder")), 1, "data.npz");
}

}  // namespace
}  // namespace diffscm
