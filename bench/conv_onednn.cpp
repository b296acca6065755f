// The cpu convolution against oneDNN, shape by shape: GFLOP/s of each pass and their ratio.
//
//   conv_onednn [--batch N] [--threads N] [--rounds N] [--clock wall|cpu] [--json FILE]
//
// oneDNN may choose any memory layout and its reorders are not counted; ours reads and writes NHWC
// with weights packed beforehand, as in inference. Neither has a fused upsampling or concatenation
// to compare, so oneDNN gets the enlarged or concatenated image ready-made. FLOPs are those of the
// direct algorithm for both. The two are timed in turn, and medians are reported. --clock cpu, of
// one thread, counts the processor's time only, for machines on which other programs run.
#include <fmt/format.h>
#include <omp.h>
#include <dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/cpu/table.h"
#include "kernels/error.h"

namespace {

using diffscm::fail;
using diffscm::require;
using diffscm::kernels::ConvShape;

struct Options {
  int64_t batch = 10;
  int threads = omp_get_max_threads();
  int rounds = 9;
  std::string clock = "wall", json;
};

struct Case {
  const char* name;
  ConvShape shape;
};

// The convolutions of the mnist-fast U-Net and classifier, and wider ones as in mnist-paper and
// adm-256.
std::vector<Case> cases(int64_t n) {
  const auto conv = [n](int64_t size, int64_t c, int64_t k, int stride = 1, bool upsample = false) {
    return ConvShape{
        .n = n, .h = size, .w = size, .c0 = c, .k = k, .stride = stride, .upsample = upsample};
  };
  const auto pointwise = [n](int64_t size, int64_t c0, int64_t c1, int64_t k) {
    return ConvShape{.n = n, .h = size, .w = size, .c0 = c0, .c1 = c1, .k = k, .r = 1, .s = 1};
  };
  return {
      {"28x28   1->32", conv(28, 1, 32)},
      {"28x28  32->32", conv(28, 32, 32)},
      {"28x28  64->32", conv(28, 64, 32)},
      {"28x28  96->32", conv(28, 96, 32)},
      {"28x28  32->1", conv(28, 32, 1)},
      {"28x28  32->32 stride 2", conv(28, 32, 32, 2)},
      {"14->28 64->64 upsample", conv(14, 64, 64, 1, true)},
      {"28x28  96->32 1x1", pointwise(28, 64, 32, 32)},
      {"14x14  32->64", conv(14, 32, 64)},
      {"14x14  64->64", conv(14, 64, 64)},
      {"14x14  96->64", conv(14, 96, 64)},
      {"14x14 128->64", conv(14, 128, 64)},
      {"14x14  64->64 stride 2", conv(14, 64, 64, 2)},
      {"7->14  64->64 upsample", conv(7, 64, 64, 1, true)},
      {"14x14 128->64 1x1", pointwise(14, 64, 64, 64)},
      {"7x7    64->64", conv(7, 64, 64)},
      {"7x7   128->64", conv(7, 128, 64)},
      {"7x7    64->128", conv(7, 64, 128)},
      {"7x7   128->128", conv(7, 128, 128)},
      {"3x3   128->128", conv(3, 128, 128)},
      {"28x28 128->128", conv(28, 128, 128)},
      {"14x14 256->256", conv(14, 256, 256)},
      // adm-64's and adm-256's: those of more than 512 x 256 weights are packed in each call, which
      // is counted.
      {"64x64 128->128", conv(64, 128, 128)},
      {"64x64 192->192", conv(64, 192, 192)},
      {"32x32 384->384", conv(32, 384, 384)},
      {"16x16 576->576", conv(16, 576, 576)},
      {"8x8 768->768", conv(8, 768, 768)},
      {"32x32 1536->512 1x1", pointwise(32, 1024, 512, 512)},
      {"128x128 256->256", conv(128, 256, 256)},
      {"64x64 512->512", conv(64, 512, 512)},
      {"32x32 512->512", conv(32, 512, 512)},
      {"16x16 1024->1024", conv(16, 1024, 1024)},
      {"8x8 1024->1024", conv(8, 1024, 1024)},
  };
}

// 64-byte aligned floats with arbitrary contents; null for none.
struct Aligned {
  explicit Aligned(int64_t count)
      : data(count == 0 ? nullptr
                        : static_cast<float*>(std::aligned_alloc(64, (count + 15) / 16 * 64))) {
    for (int64_t i = 0; i < count; ++i) data.get()[i] = float(i * 7919 % 1009) / 1009 - 0.5f;
  }
  operator float*() const { return data.get(); }
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data;
};

using Work = std::function<void()>;

struct Ours {
  ConvShape s;
  Aligned x0, x1, weight, bias, y, dx0, dx1, dw, db;
  Aligned packed, packed_backward;

  explicit Ours(const ConvShape& shape)
      : s(shape),
        x0(s.n * s.h * s.w * s.c0),
        x1(s.n * s.h * s.w * s.c1),
        weight(s.k * s.r * s.s * s.c()),
        bias(s.k),
        y(s.n * s.p() * s.q() * s.k),
        dx0(s.n * s.h * s.w * s.c0),
        dx1(s.n * s.h * s.w * s.c1),
        dw(s.k * s.r * s.s * s.c()),
        db(s.k),
        packed(pack(false)),
        packed_backward(pack(true)) {}

  Aligned pack(bool backward) const {
    int64_t floats = 0;
    diffscm::kernels::cpu::conv2d_pack({s, backward, weight, nullptr, &floats}, {});
    Aligned out(floats);
    if (floats > 0) diffscm::kernels::cpu::conv2d_pack({s, backward, weight, out, nullptr}, {});
    return out;
  }

  std::vector<Work> passes() {
    namespace cpu = diffscm::kernels::cpu;
    return {[this] {
              cpu::conv2d({s, x0, x1, weight, packed, bias, nullptr, y}, {});
            },
            [this] {
              cpu::conv2d_backward_input({s, y, weight, packed_backward, dx0, dx1}, {});
            },
            [this] {
              cpu::conv2d_backward_weight({s, x0, x1, y, dw, db}, {});
            }};
  }
};

// A oneDNN primitive with memory for each of its arguments.
Work primitive_work(const dnnl::primitive& primitive, dnnl::stream& stream,
                    const dnnl::engine& engine,
                    const std::vector<std::pair<int, dnnl::memory::desc>>& descriptions) {
  std::unordered_map<int, dnnl::memory> arguments;
  for (const auto& [id, description] : descriptions) {
    dnnl::memory memory(description, engine);
    std::fill_n(static_cast<float*>(memory.get_data_handle()),
                description.get_size() / sizeof(float), 0.25f);
    arguments.emplace(id, memory);
  }
  return [=, &stream] {
    primitive.execute(stream, arguments);
    stream.wait();
  };
}

std::vector<Work> onednn_passes(const ConvShape& s, const dnnl::engine& engine,
                                dnnl::stream& stream) {
  using namespace dnnl;
  const auto any = [](memory::dims dims) {
    return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
  };
  const auto x = any({s.n, s.c(), s.in_h(), s.in_w()}), w = any({s.k, s.c(), s.r, s.s});
  const auto b = any({s.k}), y = any({s.n, s.k, s.p(), s.q()});
  const memory::dims stride{s.stride, s.stride}, low{s.r / 2, s.s / 2};
  const memory::dims high{(s.p() - 1) * s.stride + s.r - s.in_h() - s.r / 2,
                          (s.q() - 1) * s.stride + s.s - s.in_w() - s.s / 2};
  const auto algorithm = dnnl::algorithm::convolution_auto;
  const convolution_forward::primitive_desc forward(
      {prop_kind::forward_training, algorithm, x, w, b, y, stride, low, high}, engine);
  const convolution_backward_data::primitive_desc data({algorithm, x, w, y, stride, low, high},
                                                       engine, forward);
  const convolution_backward_weights::primitive_desc weights(
      {algorithm, x, w, b, y, stride, low, high}, engine, forward);
  return {primitive_work(convolution_forward(forward), stream, engine,
                         {{DNNL_ARG_SRC, forward.src_desc()},
                          {DNNL_ARG_WEIGHTS, forward.weights_desc()},
                          {DNNL_ARG_BIAS, forward.bias_desc()},
                          {DNNL_ARG_DST, forward.dst_desc()}}),
          primitive_work(convolution_backward_data(data), stream, engine,
                         {{DNNL_ARG_DIFF_SRC, data.diff_src_desc()},
                          {DNNL_ARG_WEIGHTS, data.weights_desc()},
                          {DNNL_ARG_DIFF_DST, data.diff_dst_desc()}}),
          primitive_work(convolution_backward_weights(weights), stream, engine,
                         {{DNNL_ARG_SRC, weights.src_desc()},
                          {DNNL_ARG_DIFF_WEIGHTS, weights.diff_weights_desc()},
                          {DNNL_ARG_DIFF_BIAS, weights.diff_bias_desc()},
                          {DNNL_ARG_DIFF_DST, weights.diff_dst_desc()}})};
}

bool processor_time = false;

double now() {
  if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds(const Work& work, int repeats) {
  const double start = now();
  for (int i = 0; i < repeats; ++i) work();
  return (now() - start) / repeats;
}

int repeats_for(const Work& work) {
  work();
  return std::clamp(static_cast<int>(2e-3 / std::max(seconds(work, 2), 1e-7)), 1, 1000);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct Pair {
  double ours, onednn;  // GFLOP/s
};

Pair measure(const Work& ours, const Work& onednn, double gflop, int rounds) {
  const int ours_repeats = repeats_for(ours), onednn_repeats = repeats_for(onednn);
  std::vector<double> a, b;
  for (int i = 0; i < rounds; ++i) {
    a.push_back(seconds(ours, ours_repeats));
    b.push_back(seconds(onednn, onednn_repeats));
  }
  return {gflop / median(a), gflop / median(b)};
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    require(i + 1 < argc, "{} needs a value", flag);
    if (flag == "--batch")
      o.batch = std::stoll(argv[i + 1]);
    else if (flag == "--threads")
      o.threads = std::stoi(argv[i + 1]);
    else if (flag == "--rounds")
      o.rounds = std::stoi(argv[i + 1]);
    else if (flag == "--clock")
      o.clock = argv[i + 1];
    else if (flag == "--json")
      o.json = argv[i + 1];
    else
      fail("unknown flag {}: choose --batch, --threads, --rounds, --clock or --json", flag);
  }
  require(o.batch > 0 && o.threads > 0 && o.rounds > 0, "flags must be positive");
  require(o.clock == "wall" || (o.clock == "cpu" && o.threads == 1),
          "--clock {}: give wall or, with --threads 1, cpu", o.clock);
  return o;
}

void run(const Options& o) {
  omp_set_num_threads(o.threads);
  processor_time = o.clock == "cpu";
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  fmt::print("batch {}, {} threads, GFLOP/s of {} time, ours / oneDNN (ratio)\n", o.batch,
             o.threads, o.clock);
  fmt::print("{:<24}{:>24}{:>24}{:>24}\n", "shape", "forward", "backward input", "backward weight");
  std::string json;
  for (const Case& c : cases(o.batch)) {
    Ours ours(c.shape);
    const auto mine = ours.passes(), theirs = onednn_passes(c.shape, engine, stream);
    fmt::print("{:<24}", c.name);
    for (int pass = 0; pass < 3; ++pass) {
      const Pair p = measure(mine[pass], theirs[pass], 1e-9 * c.shape.flops(), o.rounds);
      fmt::print("{:>24}",
                 fmt::format("{:.0f} / {:.0f} ({:.2f})", p.ours, p.onednn, p.ours / p.onednn));
      json += fmt::format(
          R"({}  {{"shape": "{}", "batch": {}, "threads": {}, "pass": "{}", "gflops": {:.2f}, "onednn_gflops": {:.2f}}})",
          json.empty() ? "" : ",\n", c.name, o.batch, o.threads,
          std::vector{"forward", "backward_input", "backward_weight"}[pass], p.ours, p.onednn);
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
  if (o.json.empty()) return;
  std::FILE* file = std::fopen(o.json.c_str(), "w");
  require(file != nullptr, "cannot write {}", o.json);
  fmt::print(file, "[\n{}\n]\n", json);
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::exception& e) {
    fmt::print(stderr, "conv_onednn: {}\n", e.what());
    return 1;
  }
}
