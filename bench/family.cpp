// One network of guided-diffusion's family on one batch: what it answers, how long that takes and
// in how much memory. bench/peers/family.py runs it beside PyTorch and compares.
//
//   bench_family MODEL.safetensors INPUTS.npz OUTPUTS.npz [--runs N] [--threads N]
//
// INPUTS.npz: x [N,H,W,C], t [N]; for a U-Net v, shaped like eps, for a classifier labels [N].
// OUTPUTS.npz: eps, or logits; gradient of sum(eps * v), or of the labels' log-probability, in x.
// Prints JSON: seconds to load, milliseconds of each evaluation (eps; logits) and of each gradient,
// peak MiB of the process while it loads, evaluates and takes gradients.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/io/npz.h"
#include "models/classifier.h"
#include "models/unet.h"

namespace {

using namespace diffscm;

struct Options {
  std::string model, inputs, outputs;
  int runs = 1, threads = 0;
  bool gradient = true;
};

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The process's peak since the last call, as the kernel counts it.
int64_t peak_mib() {
  std::ifstream status("/proc/self/status");
  int64_t kib = 0;
  for (std::string word; status >> word;)
    if (word == "VmHWM:") status >> kib;
  std::ofstream("/proc/self/clear_refs") << "5";
  return kib >> 10;
}

template <class Model>
void run(const Options& o) {
  nlohmann::json result = {{"threads", threads()}};
  const io::NpyArrays inputs = io::read_npz(o.inputs);
  const auto input = [&](const char* name) {
    const io::NpyArray& array = inputs.at(name);
    return Tensor::from(array.to_floats(), array.shape);
  };
  const Tensor x = input("x"), t = input("t");
  std::optional<LoadedModel<Model>> loaded;
  result["load_s"] = seconds([&] { loaded.emplace(load_model<Model>(o.model, Target::cpu)); });
  result["load_peak_mib"] = peak_mib();
  const Model& model = loaded->model;

  io::NpyArrays outputs;
  const char* name = std::is_same_v<Model, UNet> ? "eps" : "logits";
  const auto evaluate = [&](const Variable& images) {
    ForwardContext context;
    return model.forward(images, t, context);
  };
  for (int i = 0; i <= o.runs; ++i) {  // the first packs weights
    const NoGrad no_grad;
    Variable answer;
    const double s = seconds([&] { answer = evaluate(x); });
    if (i > 0 || o.runs == 0) result["evaluation_ms"].push_back(1000 * s);
    outputs.insert_or_assign(name, io::NpyArray::from(answer.value()));
  }
  result["evaluation_peak_mib"] = peak_mib();
  if (o.gradient) {
    Tensor gradient;
    result["gradient_ms"] = 1000 * seconds([&] {
                              const Variable images = Variable::leaf(x);
                              if constexpr (std::is_same_v<Model, UNet>) {
                                backward(evaluate(images), input("v"));
                              } else {
                                const Variable log_p =
                                    log_softmax_at(evaluate(images), inputs.at("labels").to_ints());
                                backward(log_p, Tensor::constant(log_p.shape(), 1, Target::cpu));
                              }
                              gradient = images.gradient();
                            });
    outputs.emplace("gradient", io::NpyArray::from(gradient));
    result["gradient_peak_mib"] = peak_mib();
  }
  io::write_npz(o.outputs, outputs);
  fmt::print("{}\n", result.dump());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"One network of guided-diffusion's family on one batch"};
  app.add_option("model", o.model)->required();
  app.add_option("inputs", o.inputs)->required();
  app.add_option("outputs", o.outputs)->required();
  app.add_option("--runs", o.runs, "timed evaluations, after one that is not")
      ->capture_default_str();
  app.add_option("--threads", o.threads, "0: all")->capture_default_str();
  app.add_flag("!--no-gradient", o.gradient);
  CLI11_PARSE(app, argc, argv);
  try {
    set_threads(o.threads);
    read_model_info(o.model).kind == UNet::kKind ? run<UNet>(o) : run<Classifier>(o);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_family: {}\n", e.what());
    return 1;
  }
}
