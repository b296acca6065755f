// diffscm sample, abduct and counterfactual: what they write and what they refuse.
#include "apps/report/document.h"
#include "engine/io/png.h"
#include "tests/apps/networks.h"

namespace diffscm {
namespace {

TEST(Sample, EverySamplerDrawsImages) {
  for (const char* sampler : {"ddim", "ddpm", "ode", "sde"}) {
    SCOPED_TRACE(sampler);
    const std::string out = fresh();
    const Result r = diffscm(sample(out) + Arguments{"--sampler", sampler, "--json"});
    expect_success(r);
    EXPECT_EQ(json::parse(r.out)["images"], 3);
    const auto arrays = io::read_npz(out + "/samples.npz");
    EXPECT_EQ(arrays.at("samples").shape, Shape({3, kSide, kSide, 1}));
    expect_image_range(arrays.at("samples"));
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
    EXPECT_EQ(read_json(out + "/run.json")["options"]["sampler"], sampler);
  }
}

TEST(Sample, GuidanceChangesTheImages) {
  for (const char* sampler : {"ddim", "ddpm"}) {
    SCOPED_TRACE(sampler);
    const std::string plain = fresh(), towards = fresh();
    const Arguments with{"--sampler", sampler, "--seed", "4"};
    expect_success(diffscm(sample(plain) + with));
    const Result r =
        diffscm(sample(towards) + with + guided("all") + Arguments{"--scale", "5", "--json"});
    expect_success(r);
    const double rate = json::parse(r.out)["on_target_rate"];
    const auto a = io::read_npz(plain + "/samples.npz"), b = io::read_npz(towards + "/samples.npz");
    EXPECT_EQ(b.at("target").to_ints(), (std::vector<int64_t>{0, 1, 2}));
    EXPECT_NE(a.at("samples").bytes, b.at("samples").bytes);
    const auto p = classify(world().classifier(), tensor(b.at("samples")));
    int hits = 0;
    for (size_t i = 0; i < 3; ++i) hits += most_likely(p[i]) == static_cast<int64_t>(i);
    EXPECT_DOUBLE_EQ(rate, hits / 3.0);
  }
}

TEST(Sample, IsAFunctionOfTheSeedAndNotOfTheBatch) {
  std::vector<io::NpyArray> images;
  for (const auto& [batch, seed] :
       {std::pair{"3", "1"}, std::pair{"1", "1"}, std::pair{"3", "2"}}) {
    const std::string out = fresh();
    expect_success(diffscm(
        sample(out) + Arguments{"--sampler", "ddpm", "--batch", batch, "--seed", seed, "--quiet"}));
    images.push_back(io::read_npz(out + "/samples.npz").at("samples"));
  }
  expect_close(images[0], images[1], 1e-3f);
  EXPECT_NE(images[0].bytes, images[2].bytes);
}

// From the folders' names through the classifier's file to what is asked and what is said.
TEST(Sample, ClassesGoByTheNamesOfTheirFolders) {
  const fs::path pets = world() / "pets";
  for (const auto& [name, level] : {std::pair{"dog", 200}, {"cat", 20}}) {
    fs::create_directories(pets / name);
    for (const char* file : {"a.png", "b.png"})
      io::write_png(
          pets / name / file,
          {kSide, kSide, 1, std::vector<uint8_t>(kSide * kSide, static_cast<uint8_t>(level))});
  }
  testing::put(pets / ".DS_Store", "hidden");
  const Result inspected = diffscm({"inspect", pets, "--json"});
  expect_success(inspected);
  EXPECT_EQ(json::parse(inspected.out)["train"]["images_per_class"],
            (json{{"cat", 2}, {"dog", 2}}));
  EXPECT_NE(inspected.err.find(".DS_Store"), std::string::npos) << inspected.err;

  const std::string classifier = fresh(), out = fresh();
  expect_success(diffscm({"train", "classifier", "--preset", world().preset(), "--data", pets,
                          "--out", classifier, "--steps", "1", "--quiet"}));
  const auto as = [&](const char* name) {
    return Arguments{"--classifier", classifier, "--class", name, "--quiet"};
  };
  expect_success(diffscm(sample(out) + as("dog")));
  EXPECT_EQ(io::read_npz(out + "/samples.npz").at("target").to_ints(),
            (std::vector<int64_t>{1, 1, 1}));
  expect_failure(diffscm(sample(fresh()) + as("cow")), 2, R"(give "cat" or "dog", or all)");
  const Arguments ask{"counterfactual", "--model", world().unet(), "--classifier", classifier,
                      "--data",         pets,      "--index",      "0:2",          "--out",
                      fresh(),          "--quiet"};
  expect_success(diffscm(ask + Arguments{"--do", "class=dog"}));
  expect_failure(diffscm(ask + Arguments{"--do", "class=cow"}), 2, R"(give "cat" or "dog")");
}

// The same pictures, and the same answers as nothing guides, under two namings.
TEST(Counterfactual, ItsPictureNamesTheClasses) {
  const auto grid = [](const char* first, const char* second) {
    const fs::path data = fresh();
    for (const char* name : {first, second}) {
      fs::create_directories(data / name);
      io::write_png(data / name / "a.png",
                    {kSide, kSide, 1, std::vector<uint8_t>(kSide * kSide, 100)});
    }
    const std::string classifier = fresh(), out = fresh();
    expect_success(diffscm({"train", "classifier", "--preset", world().preset(), "--data", data,
                            "--out", classifier, "--steps", "1", "--quiet"}));
    expect_success(diffscm({"counterfactual", "--model", world().unet(), "--classifier", classifier,
                            "--data", data, "--index", "0:2", "--scale", "0", "--do", "class=1",
                            "--out", out, "--quiet"}));
    return testing::get(out + "/grid.png");
  };
  EXPECT_TRUE(grid("0", "1") != grid("1", "a zebra with a name as long as this"));
}

TEST(Sample, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(sample(out) + a), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  refused({"--sampler", "magic"}, 2, "magic");
  refused({"--count", "0"}, 2, "--count");
  refused({"--steps", "-3"}, 2, "--steps");
  refused({"--class", "3"}, 2, "cannot be told a class: give a --classifier");
  refused({"--classifier", world().classifier()}, 2, "give --class too");
  refused(guided("10"), 2, "10");
  refused(guided("cat"), 2, "cat");
  refused(guided("3") + Arguments{"--scale", "-1"}, 2, "-1");
  refused(guided("3") + Arguments{"--scale", ""}, 2, R"(--scale "": give a number)");
  refused({"--eta", "2"}, 2, "2");
  refused({"--threshold", "soft"}, 2, "soft");
  refused({"--classifier", world().unet(), "--class", "3"}, 1, "kind is unet, expected classifier");
  refused({"--steps", "1001"}, 1, "1001");
}

TEST(Abduct, EveryMethodGivesTheImagesBack) {
  for (const char* method : {"ddim", "fixed-point", "ddpm"}) {
    SCOPED_TRACE(method);
    const bool exact = std::string(method) != "ddim";
    const std::string out = fresh();
    const Result r = diffscm(abduct(out) + Arguments{"--abduction", method, "--steps", "50",
                                                     "--tolerance", "0.002", "--json"});
    expect_success(r);
    const json summary = json::parse(r.out);
    EXPECT_EQ(summary["images"], 6);
    EXPECT_EQ(summary["not_converged"], json::array());
    if (exact) {
      EXPECT_LT(summary["roundtrip_l1_max"], 0.05);  // grey levels
    }
    const auto arrays = io::read_npz(out + "/abduction.npz");
    for (const char* name : {"factual", "latent", "reconstruction"})
      EXPECT_EQ(arrays.at(name).shape, Shape({6, kSide, kSide, 1})) << name;
    EXPECT_EQ(arrays.at("label").to_ints(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
    if (exact) expect_close(arrays.at("factual"), arrays.at("reconstruction"), 0.02f);
    const auto lines = io::read_jsonl(out + "/results.jsonl");
    ASSERT_EQ(lines.size(), 6u);
    EXPECT_EQ(lines[2]["index"], 2);
    EXPECT_EQ(lines[2]["residual"].is_number(), std::string(method) == "fixed-point");
    EXPECT_EQ(lines[2]["converged"].is_boolean(), std::string(method) == "fixed-point");
    EXPECT_GE(lines[2]["evaluations"], 50);
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
  }
}

// Five steps are too few for a round trip of this network: that must be said.
TEST(Abduct, ImagesThatDidNotConvergeAreReported) {
  const std::string out = fresh();
  const Result r = diffscm(abduct(out) + Arguments{"--steps", "5", "--json"});
  expect_success(r);
  std::vector<int64_t> unconverged;
  for (const json& line : io::read_jsonl(out + "/results.jsonl")) {
    if (line["converged"].get<bool>()) continue;
    EXPECT_GT(line["residual"], 1e-4) << line;
    unconverged.push_back(line["index"]);
  }
  EXPECT_FALSE(unconverged.empty());
  EXPECT_EQ(json::parse(r.out)["not_converged"], json(unconverged));
}

TEST(Abduct, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const Arguments model{"abduct", "--model", world().unet()}, data{"--data", world().data()};
  refused(model, 2, "--data");
  refused(Arguments{"abduct"} + data, 2, "--model");
  refused({"abduct", "--model", "nowhere", "--data", world().data()}, 1, "nowhere");
  refused({"abduct", "--model", world().classifier(), "--data", world().data()}, 1,
          "expected unet");
  for (const char* index : {"garbage", "1:2:3:4", "-1", "0:13", "12", "3:3", "1e3"}) {
    SCOPED_TRACE(index);
    refused(model + data + Arguments{"--index=" + std::string(index)}, 2, "index");
  }
  refused(model + data + Arguments{"--split", "validation"}, 2, "validation");
  refused(model + data + Arguments{"--fraction", "1.5"}, 2, "1.5");
  refused(model + data + Arguments{"--fraction", "0"}, 2, "0");
  refused(model + data + Arguments{"--tolerance", "-1"}, 2, "-1");
  refused(model + data + Arguments{"--max-iterations", "0"}, 2, "0");
  refused(model + data + Arguments{"--abduction", "guess"}, 2, "guess");
  write_data(world() / "large.npz", 10);
  refused(model + Arguments{"--data", world() / "large.npz"}, 1, "8x8x1");
}

TEST(Counterfactual, ReportShowsWhatTheRunFound) {
  const std::string out = fresh();
  expect_success(diffscm(counterfactual(out) + Arguments{"--steps", "8", "--scale", "3,0,0.7",
                                                         "--batch", "4", "--report", "--quiet"}));
  const std::string html = testing::get(out + "/report.html");
  const std::string tag = R"(<script type="application/json" id="data">)";
  const size_t begin = html.find(tag) + tag.size();
  const json page = json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  EXPECT_EQ(page["scales"], json({0, 0.7, 3}));
  EXPECT_EQ(page["film_scale"], 0.7);
  ASSERT_EQ(page["images"].size(), 6u);

  const std::map<double, size_t> place{{0.0, 0}, {0.7, 1}, {3.0, 2}};
  std::map<int64_t, json> images;
  for (const json& image : page["images"]) images[image["index"]] = image;
  size_t lines = 0;
  for (const auto& line : io::read_jsonl(out + "/results.jsonl")) {
    const json& image = images.at(line["index"]);
    const size_t s = place.at(line["scale"]);
    EXPECT_EQ(image["l1"][s], line["l1"]);
    EXPECT_EQ(image["p_target"][s], line["p_target"]);
    EXPECT_EQ(image["flipped"][s], line["predicted"] == line["target"]);
    EXPECT_EQ(image["converged"], line["converged"]);
    EXPECT_EQ(image["roundtrip_l1"], line["roundtrip_l1"]);
    ++lines;
  }
  EXPECT_EQ(lines, 18u);

  // The film goes up to u and starts down from it; image 5 is of the second batch.
  const Tensor u = tensor(io::read_npz(out + "/counterfactuals.npz").at("latent"));
  for (const int64_t n : {0, 5}) {
    const json& image = page["images"][static_cast<size_t>(n)];
    EXPECT_EQ(image["levels"], json({1, 2, 3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(image["up"].size(), 8u);
    EXPECT_EQ(image["down"].size(), 8u);
    EXPECT_EQ(image["up"][7], apps::data_url(io::grid_image(u, n)));
    EXPECT_EQ(image["down"][7], image["up"][7]);
    EXPECT_NE(image["down"][0], image["up"][0]);
  }
  // The page of an earlier run does not outlive it.
  expect_success(diffscm(counterfactual(out) + Arguments{"--quiet"}));
  EXPECT_FALSE(fs::exists(out + "/report.html"));
}

TEST(Counterfactual, WritesEverythingItPromises) {
  for (const char* method : {"ddim", "fixed-point"}) {
    SCOPED_TRACE(method);
    const bool exact = std::string(method) == "fixed-point";
    const std::string out = fresh();
    const Result r = diffscm(counterfactual(out) + Arguments{"--steps", "50", "--abduction", method,
                                                             "--tolerance", "0.002", "--scale",
                                                             "0,0.7,20", "--seed", "3", "--json"});
    expect_success(r);
    const json summary = json::parse(r.out);
    EXPECT_EQ(summary["scales"].size(), 3u);

    const auto arrays = io::read_npz(out + "/counterfactuals.npz");
    const Shape images{6, kSide, kSide, 1};
    for (const char* name : {"factual", "reconstruction", "latent"})
      EXPECT_EQ(arrays.at(name).shape, images) << name;
    const io::NpyArray& all = arrays.at("counterfactual");
    EXPECT_EQ(all.shape, Shape({3, 6, kSide, kSide, 1}));
    expect_image_range(all);
    EXPECT_EQ(arrays.at("target").to_ints(), std::vector<int64_t>(6, 5));
    EXPECT_EQ(arrays.at("label").to_ints(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(arrays.at("scale").to_floats(), (std::vector<float>{0, 0.7f, 20}));
    const auto set = io::read_npz(world().data()).at("images").to_floats();
    const auto factual = arrays.at("factual").to_floats();
    EXPECT_EQ(factual, std::vector<float>(set.begin(), set.begin() + 6 * kSide * kSide));
    // Scale 0 is the reconstruction, and a large scale is not.
    const size_t size = 6 * kSide * kSide;
    const auto values = all.to_floats(), reconstruction = arrays.at("reconstruction").to_floats();
    EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + size), reconstruction);
    EXPECT_NE(std::vector<float>(values.end() - size, values.end()), reconstruction);

    std::vector<std::vector<std::vector<double>>> p;  // [scale][image][class]
    for (int64_t k = 0; k < 3; ++k)
      p.push_back(classify(world().classifier(),
                           tensor(all).slice(k, k + 1).reshape({6, kSide, kSide, 1})));
    double p_target[3] = {};
    const auto lines = io::read_jsonl(out + "/results.jsonl");
    ASSERT_EQ(lines.size(), 18u);
    for (size_t i = 0; i < lines.size(); ++i) {
      const json& line = lines[i];
      EXPECT_EQ(line["index"], i / 3);
      EXPECT_EQ(line["label"], i / 3);
      EXPECT_EQ(line["target"], 5);
      EXPECT_DOUBLE_EQ(line["scale"], (std::vector<double>{0, 0.7, 20})[i % 3]);
      EXPECT_EQ(line["residual"].is_number(), exact);
      EXPECT_EQ(line["converged"].is_boolean(), exact);
      // What the images in the archive give.
      const int64_t image = static_cast<int64_t>(i / 3), scale = static_cast<int64_t>(i % 3);
      const std::vector<double>& of_image = p[i % 3][i / 3];
      EXPECT_EQ(line["predicted"], most_likely(of_image));
      EXPECT_NEAR(line["p_target"], of_image[5], 1e-5);
      p_target[scale] += of_image[5];
      const Tensor counterfactual =
          tensor(all).slice(scale, scale + 1).reshape({6, kSide, kSide, 1});
      EXPECT_NEAR(line["l1"], l1(counterfactual, tensor(arrays.at("factual")), image), 1e-3);
      // The archive's reconstruction is clipped, which can only bring it nearer.
      const double clipped =
          l1(tensor(arrays.at("reconstruction")), tensor(arrays.at("factual")), image);
      EXPECT_GE(line["roundtrip_l1"], clipped - 1e-3);
      if (exact) {
        EXPECT_LE(line["roundtrip_l1"], clipped + 0.05);
      }
    }
    EXPECT_GT(p_target[1], p_target[0] + 1) << "guidance does not lead to the target";
    if (exact) {
      EXPECT_LT(lines[0]["l1"], 0.05) << "scale 0 must return the factual image";
    }

    const json run = read_json(out + "/run.json");
    EXPECT_EQ(run["seed"], 3);
    EXPECT_EQ(run["device"], "cpu");
    EXPECT_EQ(run["options"]["do"], "digit=5");
    EXPECT_EQ(run["options"]["abduction"], method);
    ASSERT_EQ(run["models"].size(), 2u);
    for (const auto& [i, folder] :
         {std::pair{0, world().unet()}, std::pair{1, world().classifier()}})
      EXPECT_EQ(run["models"][i]["sha256"],
                io::sha256_of_file(fs::path(folder) / "model.safetensors"));
    EXPECT_EQ(run["summary"]["images"], 6);
    EXPECT_TRUE(fs::exists(out + "/grid.png"));
    EXPECT_EQ(diffscm({"inspect", out, "--json"}).code, 0);
  }
}

TEST(Counterfactual, OneScaleGivesArraysOfTheDocumentedShape) {
  const std::string out = fresh();
  const Result r = diffscm(counterfactual(out) + Arguments{"--scale", "0.7", "--fraction", "0.6"});
  expect_success(r);
  EXPECT_NE(r.out.find("flip rate"), std::string::npos) << r.out;
  EXPECT_EQ(io::read_npz(out + "/counterfactuals.npz").at("counterfactual").shape,
            Shape({6, kSide, kSide, 1}));
  EXPECT_EQ(read_json(out + "/run.json")["options"]["levels"], 3);
}

// The classifier guides both passes: each scale has an abduction of its own, do() of the factual
// class returns the image, and any other does not.
TEST(Counterfactual, AClassifierEncodesWithTheFactualClass) {
  const std::string out = fresh();
  const Result r = diffscm(counterfactual(out) + Arguments{"--encode", "factual", "--scale",
                                                           "0,1,4", "--batch", "4", "--report"});
  expect_success(r);
  const auto arrays = io::read_npz(out + "/counterfactuals.npz");
  const Shape images{3, 6, kSide, kSide, 1};
  for (const char* name : {"reconstruction", "latent", "counterfactual"})
    EXPECT_EQ(arrays.at(name).shape, images) << name;
  const auto at = [&](const char* name, int64_t scale) {
    return tensor(arrays.at(name)).slice(scale, scale + 1).reshape({6, kSide, kSide, 1});
  };
  const Tensor factual = tensor(arrays.at("factual"));
  for (int64_t s = 0; s < 3; ++s)
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_LT(l1(at("reconstruction", s), factual, i), 0.5) << s << ' ' << i;
      if (s == 0 || i == 5) {
        EXPECT_LT(l1(at("counterfactual", s), factual, i), 0.5) << s << ' ' << i;
      } else {
        EXPECT_GT(l1(at("counterfactual", s), factual, i), 1) << s << ' ' << i;
      }
    }
  EXPECT_NE(testing::get(out + "/report.html").find("film"), std::string::npos);
}

TEST(Counterfactual, DoesNotDependOnTheBatch) {
  std::vector<io::NpyArrays> results;
  for (const char* batch : {"1", "4", "32"}) {
    const std::string out = fresh();
    expect_success(
        diffscm(counterfactual(out) + Arguments{"--batch", batch, "--scale", "0.7,3", "--quiet"}));
    results.push_back(io::read_npz(out + "/counterfactuals.npz"));
  }
  for (const char* name : {"reconstruction", "counterfactual", "latent"}) {
    SCOPED_TRACE(name);
    expect_close(results[0].at(name), results[1].at(name), 1e-3f);
    expect_close(results[0].at(name), results[2].at(name), 1e-3f);
  }
}

TEST(Counterfactual, CtrlCExits130AndLeavesNoResults) {
  const std::string out = fresh();
  Program program(world().path(), counterfactual(out) + Arguments{"--steps", "1000"});
  ASSERT_TRUE(program.run_until([&] { return fs::exists(out); }));
  program.signal(SIGINT);
  const Result r = program.wait();
  EXPECT_EQ(r.code, 130) << r.err;
  EXPECT_NE(r.err.find("diffscm: stopped\n"), std::string::npos) << r.err;
  EXPECT_TRUE(is_empty(out));
}

TEST(Counterfactual, BadInputIsOneLineAndLeavesNothing) {
  const auto refused = [&](const Arguments& a, int code, std::string_view part) {
    SCOPED_TRACE(part);
    const std::string out = fresh();
    expect_failure(diffscm(a + Arguments{"--out", out}), code, part);
    EXPECT_TRUE(is_empty(out));
  };
  const auto with = [&](const std::string& model, const std::string& classifier) {
    return Arguments{"counterfactual", "--model",      model,     "--classifier", classifier,
                     "--data",         world().data(), "--index", "0:2"};
  };
  const Arguments base = with(world().unet(), world().classifier());
  const auto intervention = [&](const std::string& text, std::string_view part) {
    SCOPED_TRACE(text);
    refused(base + Arguments{"--do", text}, 2, part);
  };
  refused(base, 2, "--do");
  intervention("digit=10", "0 to 9");
  intervention("digit=-1", "0 to 9");
  intervention("digit=five", "five");
  intervention("digit=", "0 to 9");
  intervention("digit=99999999999999999999", "0 to 9");
  intervention("digit", "NAME=VALUE");
  intervention("foo=1", "foo=1");
  intervention("a\nb", "a b");
  const Arguments good = base + Arguments{"--do", "digit=5"};
  refused(good + Arguments{"--scale", "-1"}, 2, "-1");
  refused(good + Arguments{"--scale", "nan"}, 2, "nan");
  refused(good + Arguments{"--scale", "0.1,x"}, 2, "--scale");
  refused(good + Arguments{"--batch", "0"}, 2, "--batch");
  refused(with(world().classifier(), world().unet()) + Arguments{"--do", "digit=5"}, 1,
          "kind is classifier");
  refused(with(world().unet(), world().unet()) + Arguments{"--do", "digit=5"}, 1, "kind is unet");
  refused(with(world().preset(), world().classifier()) + Arguments{"--do", "digit=5"}, 1,
          "preset.toml");
}

TEST(Counterfactual, RefusesAClassifierOfAnotherDiffusion) {
  const std::string classifier = fresh(), out = fresh();
  expect_success(
      diffscm(train("classifier", classifier) +
              Arguments{"--steps", "1", "--set", "diffusion.schedule=cosine", "--quiet"}));
  expect_failure(diffscm({"counterfactual", "--model", world().unet(), "--classifier", classifier,
                          "--data", world().data(), "--do", "digit=5", "--out", out}),
                 1, "schedule");
  EXPECT_TRUE(is_empty(out));
}

TEST(Counterfactual, AnImageThatIsNotFiniteIsSaidAndNotJudged) {
  const std::string out = fresh();
  const Result r = diffscm(counterfactual(out) + Arguments{"--scale", "1,1e300", "--abduction",
                                                           "ddim", "--json", "--report"});
  expect_success(r);
  EXPECT_TRUE(fs::exists(out + "/report.html"));
  EXPECT_NE(r.err.find("warning: 6 of 6 images at s = 1e+300 failed"), std::string::npos) << r.err;
  const json summary = json::parse(r.out);
  EXPECT_FALSE(summary["scales"][0].contains("failed"));
  EXPECT_TRUE(summary["scales"][0].contains("flip_rate"));
  EXPECT_EQ(summary["scales"][1]["failed"], 6);
  EXPECT_FALSE(summary["scales"][1].contains("flip_rate"));
  for (const json& line : io::read_jsonl(out + "/results.jsonl"))
    EXPECT_EQ(line["predicted"].is_null(), line["scale"] == 1e300) << line;

  const std::string samples = fresh();
  const Result s = diffscm(sample(samples) + guided("1") + Arguments{"--scale", "1e300", "--json"});
  expect_success(s);
  EXPECT_NE(s.err.find("warning: 3 of 3 images failed"), std::string::npos) << s.err;
  EXPECT_EQ(json::parse(s.out)["failed"], 3);
  EXPECT_EQ(json::parse(s.out)["on_target_rate"], 0);
}

TEST(Counterfactual, AsksForTheClassifierThatAModelNeeds) {
  Arguments a = counterfactual(fresh());
  a.erase(std::ranges::find(a, "--classifier"), std::ranges::find(a, "--data"));
  expect_failure(diffscm(a), 2, "--classifier is needed: ");
  expect_failure(diffscm(a), 2, "cannot be told the parents");
}

}  // namespace
}  // namespace diffscm
