// From a folder of somebody's pictures to counterfactuals by the names of its classes.
#include "engine/io/picture_file.h"
#include "tests/apps/commands.h"
#include "tests/engine/jpeg_testing.h"
#include "tests/engine/tar_testing.h"

namespace diffscm {
namespace {

// Pictures of thirteen classes as ImageNet's lie in their folders, all different.
class OwnImages : public ::testing::Test {
 protected:
  OwnImages() {
    std::string names;
    for (int c = 0; c < 13; ++c) {
      names += fmt::format("n{:02} {}, and more\n", c, kNames[static_cast<size_t>(c)]);
      for (const char* split : {"train", "val"}) {
        const fs::path of_class = folder_ / split / fmt::format("n{:02}", c);
        fs::create_directories(of_class);
        for (int k = 0; k < 2; ++k)
          testing::put(of_class / fmt::format("{}.JPEG", k), testing::encode_jpeg(picture(c, k)));
      }
    }
    testing::put(folder_ / "LOC_synset_mapping.txt", names);
  }
  static io::Picture picture(int c, int k) {
    io::Picture p{24 + k, 30 - c % 3, 3, {}};
    for (int64_t i = 0; i < p.height * p.width * 3; ++i)
      p.pixels.push_back(static_cast<uint8_t>(i * (1 + c) / 9 + 40 * k));
    return p;
  }
  std::string data(const std::string& options) const { return (folder_.string() + options); }

  static constexpr std::array kNames{"tench", "shark", "ray", "cock", "hen",   "ostrich", "finch",
                                     "junco", "robin", "jay", "kite", "eagle", "vulture"};
  const fs::path folder_ = fresh();
};

TEST_F(OwnImages, FromPicturesToCounterfactuals) {
  const std::string size = fmt::format(":size={}", kSide), streamed = size + ",memory=0";
  const Result inspected = diffscm({"inspect", data(streamed), "--json"});
  expect_success(inspected);
  const json train = json::parse(inspected.out)["train"];
  EXPECT_EQ(train["images"], 26);
  EXPECT_EQ(train["kept"], "in files, decoded as they are needed");
  EXPECT_EQ(train["images_per_class"]["ostrich"], 2);
  EXPECT_NE(train["attributes"]["class"].get<std::string>().find("one of 13: tench, shark"),
            std::string::npos);

  // In one go, and stopped in the middle of an epoch of 13 steps and resumed: the same model.
  const fs::path varied = fresh() + ".toml";
  std::string preset = testing::get(world().preset());
  const std::string section = "[train.diffusion]\n";
  testing::put(varied, preset.insert(preset.find(section) + section.size(),
                                     "flip = true\nrandom_crop = true\n"));
  const auto run = [&](const std::string& out, const char* steps, const std::string& options) {
    return Arguments{"train",       "diffusion", "--preset", varied.string(), "--data",
                     data(options), "--out",     out,        "--steps",       steps,
                     "--batch",     "2",         "--quiet"};
  };
  const std::string whole = fresh(), parts = fresh(), resident = fresh();
  expect_success(diffscm(run(whole, "17", streamed)));
  expect_success(diffscm(run(parts, "5", streamed)));
  expect_success(diffscm(run(parts, "17", streamed) + Arguments{"--resume"}));
  expect_success(diffscm(run(resident, "17", size)));
  const auto weights = [](const std::string& out) {
    std::map<std::string, std::vector<float>> all;
    for (const auto& [name, tensor] :
         io::read_safetensors(fs::path(out) / "model.safetensors").tensors)
      all[name] = tensor.to_vector();
    return all;
  };
  EXPECT_EQ(weights(parts), weights(whole));
  EXPECT_EQ(weights(resident), weights(whole));
  const Result other = diffscm(run(whole, "18", size) +
                               Arguments{"--resume", "--set", "train.diffusion.flip=false"});
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("it was trained with flip = true"), std::string::npos) << other.err;

  const std::string classifier = fresh(), out = fresh();
  expect_success(diffscm({"train", "classifier", "--preset", world().preset(), "--data",
                          data(streamed), "--out", classifier, "--steps", "2", "--quiet"}));
  const auto ask = [&](const char* question) {
    return diffscm({"counterfactual", "--model", whole, "--classifier", classifier, "--data",
                    data(size), "--index", "0:2", "--do", question, "--out", out, "--quiet"});
  };
  expect_success(ask("class=ostrich"));
  EXPECT_EQ(io::read_npz(out + "/counterfactuals.npz").at("target").to_ints(),
            (std::vector<int64_t>{5, 5}));
  // A folder of some of the classes: names say which, whatever their order among themselves.
  const fs::path some = fresh();
  for (const int c : {9, 4}) {
    const fs::path of_class = some / kNames[static_cast<size_t>(c)];
    fs::create_directories(of_class);
    testing::put(of_class / "0.JPEG", testing::encode_jpeg(picture(c, 0)));
  }
  const auto ask_some = [&] {
    return diffscm({"counterfactual", "--model", whole, "--classifier", classifier, "--data",
                    some.string() + size, "--do", "class=jay", "--out", out, "--quiet"});
  };
  expect_success(ask_some());
  const io::NpyArrays some_asked = io::read_npz(out + "/counterfactuals.npz");
  EXPECT_EQ(some_asked.at("label").to_ints(), (std::vector<int64_t>{4, 9}));
  EXPECT_EQ(some_asked.at("target").to_ints(), (std::vector<int64_t>{9, 9}));
  fs::rename(some / "hen", some / "dodo");
  expect_failure(ask_some(), 1, "has no state \"dodo\", as in the data: the nearest of 13 are ");

  const Result unknown = ask("class=ostritch");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("the nearest of 13 are \"ostrich\", "), std::string::npos)
      << unknown.err;
}

TEST_F(OwnImages, TarFilesGoTheSameWay) {
  std::vector<testing::TarEntry> entries;
  for (int c = 0; c < 3; ++c)
    for (int k = 0; k < 2; ++k) {
      const std::string key = fmt::format("{}-{}", c, k);
      entries.push_back({key + ".jpg", testing::encode_jpeg(picture(c, k))});
      entries.push_back({key + ".cls", std::to_string(c)});
    }
  const fs::path folder = fresh();
  fs::create_directories(folder);
  for (const char* name : {"a-train-0.tar", "a-train-1.tar", "a-val-0.tar"})
    testing::put(folder / name, testing::make_tar(entries));
  const std::string spec =
      (folder / fmt::format("a-train-{{0..1}}.tar:size={},memory=0", kSide)).string();
  const Result inspected = diffscm({"inspect", spec, "--json"});
  expect_success(inspected);
  EXPECT_EQ(json::parse(inspected.out)["train"]["images"], 12);
  expect_success(diffscm({"train", "classifier", "--preset", world().preset(), "--data", spec,
                          "--out", fresh(), "--steps", "2", "--quiet"}));
  testing::put(folder / "one.tar", testing::make_tar({entries[0], entries[1]}));
  expect_success(diffscm({"inspect", (folder / "one.tar").string()}));
  const Result twice =
      diffscm({"train", "diffusion", "--preset", world().preset(), "--data",
               (folder / "a-val-0.tar").string(), "--out", fresh(), "--steps", "1"});
  EXPECT_EQ(twice.code, 1);
  EXPECT_NE(twice.err.find("give size=N"), std::string::npos) << twice.err;
}

// Without --index the first ten images, or as many as there are.
TEST(FewImages, AreAskedWithoutBeingCounted) {
  const std::string data = fresh() + ".npz", out = fresh();
  io::write_npz(data, {{"images", io::NpyArray::from(std::vector<float>(3 * kSide * kSide, 0.5f),
                                                     {3, kSide, kSide, 1})}});
  expect_success(diffscm({"abduct", "--model", world().unet(), "--data", data, "--steps", "2",
                          "--quiet", "--out", out}));
  EXPECT_EQ(io::read_jsonl(fs::path(out) / "results.jsonl").size(), 3u);
}

}  // namespace
}  // namespace diffscm
