// What the tests of sweep and evaluate share: folders of networks, arguments, readers.
#pragma once

#include "tests/apps/networks.h"

namespace diffscm {

inline const std::string kUnet = std::string(DIFFSCM_WEIGHTS) + "/digits-unet.safetensors";

inline Arguments few(const std::string& out, const std::string& model = kUnet) {
  return {"--model", model,     "--data", "digits",      "--steps", "4",     "--images",
          "2",       "--batch", "2",      "--abduction", "ddim",    "--out", out};
}

inline std::string file(const std::string& path) {
  const io::Bytes bytes = io::read_file(path);
  return {bytes.begin(), bytes.end()};
}

// A folder of runs: the tiny models of the other tests, and networks that judge them.
inline const fs::path& runs() {
  static const fs::path folder = [] {
    fs::path made = world() / "runs";
    fs::create_directory(made);
    fs::copy(world().unet(), made / "blobs-unet");
    fs::copy(world().classifier(), made / "guide");
    for (const char* kind : {"vae", "oracle", "autoencoder"}) {
      const Result r = diffscm(train_judge(kind, made / (std::string("blobs-") + kind)));
      if (r.code != 0) throw std::runtime_error(r.err);
    }
    testing::put(made / "notes.safetensors", "not a model");
    return made;
  }();
  return folder;
}

inline Arguments of_model(const std::string& model, const std::string& out) {
  return {"--model",  model, "--data", world().data(), "--steps", "2",
          "--device", "cpu", "--json", "--quiet",      "--out",   out};
}
inline Arguments tiny(const std::string& command, const std::string& out) {
  return Arguments{command} + of_model(runs() / "blobs-unet", out);
}

// A U-Net for the blobs that is told the class.
inline const std::string& conditional_unet() {
  static const std::string run = [] {
    const fs::path preset = world() / "conditional.toml", out = world() / "conditional-unet";
    testing::put(preset,
                 std::string(kPreset) + "[condition]\nattributes = [\"class\"]\ndrop = 0.15\n");
    const Result r = diffscm({"train", "diffusion", "--preset", preset, "--data", world().data(),
                              "--out", out, "--quiet"});
    if (r.code != 0) throw std::runtime_error(r.err);
    return out.string();
  }();
  return run;
}

// The images of an arm.
inline Tensor images_of(const std::string& out, const std::string& arm) {
  return tensor(io::read_npz(out + "/images/" + arm + "/000000.npz").at("image"));
}

}  // namespace diffscm
