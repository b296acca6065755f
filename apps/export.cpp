// diffscm export: a model's tensors for other programs.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/output_folder.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "engine/io/torch_file.h"
#include "models/unet.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string model, out, dtype = "f32";
  bool keep_metadata = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model, "what to export", {.required = true, .positional = true, .model = true});
    flag("out", &out,
         "the file to write: .pt or .pth for torch.load, .safetensors without metadata",
         {.required = true, .value = "FILE"});
    flag("dtype", &dtype, "of the floating-point numbers in the file",
         {.choices = {"f32", "f16", "bf16"}});
    flag("keep-metadata", &keep_metadata,
         "of .safetensors: all that diffscm reads, so that the file is a model again");
  }
};

void run(Common& common, Flags flags) {
  const fs::path out = flags.out;
  const std::string ending = io::ending_of(flags.out);
  const bool torch = ending == ".pt" || ending == ".pth";
  if (!torch && ending != ".safetensors")
    throw UsageError(fmt::format("--out {}: give a name that ends with .pt, .pth or .safetensors",
                                 io::show(flags.out)));
  if (torch && flags.keep_metadata)
    throw UsageError(
        fmt::format("--keep-metadata: {} has no place for it; give a name that ends "
                    "with .safetensors",
                    io::show(flags.out)));
  auto [info, tensors] = read_model(flags.model);
  keep_input(out, info.path, "the model to export");
  const size_t count = tensors.size();
  make_folder_of(out);
  const io::StoredFloats floats = io::parse_stored_floats(flags.dtype);
  if (torch)
    io::write_torch_file(out, tensors, floats);
  else if (flags.keep_metadata)
    write_model(out, info, tensors, floats);
  else
    io::write_safetensors(out, {std::move(tensors), {{"format", "pt"}}},
                          floats);  // the metadata that safetensors' own library wants
  common.console.say(fmt::format("{}: {} tensors ({}, {} parameters)", flags.out, count, info.kind,
                                 info.parameters));
  if (info.kind != UNet::kKind) return;
  // What guided-diffusion's networks are not, and names and shapes do not tell.
  const auto config = info.config.get<UNetConfig>();
  const UNetConfig usual;
  if (config.turned != usual.turned || config.last_frequency != usual.last_frequency ||
      config.norm_eps != usual.norm_eps)
    common.console.say(
        fmt::format("warning: no network of guided-diffusion is as this one, with turned = {}, "
                    "last_frequency = "
                    "{} and norm_eps = {}, which {} does not say",
                    config.turned, config.last_frequency, config.norm_eps, flags.out));
}

}  // namespace

void add_export(CLI::App& app, Common& common) {
  add_command(app, "export", "Write a model's tensors for PyTorch", common, run);
}

}  // namespace diffscm::apps
