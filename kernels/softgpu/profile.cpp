#include "kernels/softgpu/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernels/softgpu/machine_cost.h"

namespace diffscm::softgpu {
namespace {

// L1 and shared memory of a multiprocessor together: 256 KiB from sm_90 on, 192 KiB on sm_80.
size_t combined_bytes(const Device& device) {
  return size_t{device.major >= 9 ? 256u : 192u} * 1024;
}

double ratio(double a, double b) {
  return b == 0 ? 0 : a / b;
}

std::string shape_name(const LaunchShape& s) {
  const auto extent = [](const Extent& e) {
    if (e.z > 1) return fmt::format("{}x{}x{}", e.x, e.y, e.z);
    return e.y > 1 ? fmt::format("{}x{}", e.x, e.y) : fmt::format("{}", e.x);
  };
  return fmt::format("{} of {}", extent(s.grid), extent(s.block));
}

std::string shortened(const std::string& text, size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

}  // namespace

Profile::Profile(const Device& device) : device_(device), l2_(device) {}

Profile* Profile::of_process(const Device& device) {
  static const char* const path = std::getenv("DIFFSCM_SOFTGPU_PROFILE");
  if (path == nullptr || *path == 0) return nullptr;
  static Profile* const profile = [&] {
    static Profile only(device);
    std::atexit([] {
      const std::string text = only.kernels() + "\n" + only.lines() + "\n" + only.timeline();
      std::FILE* file = std::string_view(path) == "-" ? stderr : std::fopen(path, "w");
      if (file == nullptr) {
        fmt::print(stderr, "DIFFSCM_SOFTGPU_PROFILE={}: cannot be written\n", path);
        return;
      }
      std::fputs(text.c_str(), file);
      if (file != stderr) std::fclose(file);
    });
    return &only;
  }();
  return profile;
}

size_t Profile::l1_bytes(int blocks_per_multiprocessor, size_t shared_bytes_per_block) const {
  const auto blocks = static_cast<size_t>(std::max(blocks_per_multiprocessor, 1));
  const size_t shared = std::min(blocks * (shared_bytes_per_block + 1024), device_.shared_bytes);
  return (combined_bytes(device_) - shared) / blocks;
}

void Profile::add(const Launch& launch, const KernelCounters& counters) {
  const Program& program = *launch.program;
  Demand d = demand(device_, program, counters, launch.blocks_per_multiprocessor);
  d.memory_bytes = l2_.memory_bytes(counters.footprint);
  const Prediction p = predict(device_, d);
  entries_.push_back({launch.kernel, launch.shape, p, launch.replayed});

  Total& t = totals_[launch.kernel];
  ++t.launches;
  t.us += p.us;
  t.us_limited[static_cast<size_t>(p.limit)] += p.us;
  t.instructions += d.instructions;
  t.l2_bytes += d.l2_bytes;
  t.memory_bytes += d.memory_bytes;
  t.mma += d.matrix;
  t.registers = launch.registers;
  const uint32_t threads = launch.shape.block.x * launch.shape.block.y * launch.shape.block.z;
  t.warps_per_multiprocessor = std::max(
      t.warps_per_multiprocessor,
      (threads + 31) / 32 * static_cast<uint32_t>(std::max(launch.blocks_per_multiprocessor, 1)));
  auto& lines = lines_[launch.kernel];
  for (size_t i = 0; i < counters.instructions.size(); ++i) {
    const InstructionCounters& c = counters.instructions[i];
    if (c.executed == 0) continue;
    const InstructionClass kind = program.code[i].kind;
    const uint64_t requests = is_global(kind) ? c.executed : 0;
    t.executed += c.executed;
    t.lanes += c.lanes;
    t.sectors += is_global(kind) ? c.sectors : 0;
    t.requests += requests;
    t.wavefronts += c.wavefronts;
    t.ideal_wavefronts += c.ideal_wavefronts;
    Line& line = lines[program.where(static_cast<uint32_t>(i))];
    line.instructions +=
        static_cast<double>(c.executed) * machine_instructions(program.origins[i].opcode);
    line.sum += c;
    line.requests += requests;
  }
}

void Profile::add_copy(const std::string& what, uint64_t bytes, bool replayed) {
  // What a copy reads was mostly written shortly before, and is still in the L2 if it fits.
  const auto moved = static_cast<double>(bytes);
  const double beyond = std::max(0.0, moved - static_cast<double>(device_.l2_bytes) / 2);
  const Prediction p = predict_copy(device_, moved, beyond);
  entries_.push_back({what, {}, p, replayed});
  Total& t = totals_[what];
  ++t.launches;
  t.us += p.us;
  t.l2_bytes += moved;
  t.memory_bytes += beyond;
  t.us_limited[static_cast<size_t>(p.limit)] += p.us;
}

std::string Profile::kernels() const {
  double all = 0;
  std::vector<std::pair<std::string, const Total*>> order;
  for (const auto& [name, t] : totals_) {
    order.emplace_back(name, &t);
    all += t.us;
  }
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second->us > b.second->us; });
  std::string text = fmt::format(
      "predicted for {}: {:.1f} us in {} launches; no time here was measured\n"
      "sec/req: 32-byte sectors per request to global memory; conflict: passes over the banks of "
      "shared memory, over those needed\n\n",
      device_.name, all, entries_.size());
  text += fmt::format(
      "{:>12} {:>6} {:>7} {:>10} {:<8} {:>10} {:>6} {:>8} {:>8} {:>9} {:>9} {:>9} {:>5} {:>6}  "
      "{}\n",
      "predicted us", "%", "calls", "us/call", "limit", "warp instr", "lanes", "sec/req",
      "conflict", "L2 MB", "mem MB", "mma", "regs", "warps", "kernel");
  for (const auto& [name, t] : order) {
    const auto limit = std::max_element(t->us_limited.begin(), t->us_limited.end());
    text += fmt::format(
        "{:12.1f} {:6.1f} {:7} {:10.2f} {:<8} {:10.3g} {:6.1f} {:8.1f} {:8.2f} {:9.2f} {:9.2f} "
        "{:9.3g} {:5} {:6}  {}\n",
        t->us, 100 * ratio(t->us, all), t->launches, t->us / static_cast<double>(t->launches),
        softgpu::name(static_cast<Limit>(limit - t->us_limited.begin())),
        static_cast<double>(t->executed),
        ratio(static_cast<double>(t->lanes), static_cast<double>(t->executed)),
        ratio(static_cast<double>(t->sectors), static_cast<double>(t->requests)),
        ratio(static_cast<double>(t->wavefronts), static_cast<double>(t->ideal_wavefronts)),
        t->l2_bytes / 1e6, t->memory_bytes / 1e6, t->mma, t->registers, t->warps_per_multiprocessor,
        name);
  }
  return text;
}

std::string Profile::lines(size_t most) const {
  struct Row {
    const std::string *kernel, *place;
    const Line* line;
    double share;
  };
  double all = 0;
  for (const auto& [kernel, lines] : lines_)
    for (const auto& [place, line] : lines) all += line.instructions;
  std::vector<Row> rows;
  for (const auto& [kernel, lines] : lines_)
    for (const auto& [place, line] : lines)
      rows.push_back({&kernel, &place, &line, ratio(line.instructions, all)});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.share > b.share; });
  std::string text = fmt::format(
      "source lines by predicted machine instructions, the first {} of {}\n\n{:>6} {:>11} {:>6} "
      "{:>8} {:>8}  {}\n",
      std::min(most, rows.size()), rows.size(), "%", "warp instr", "lanes", "sec/req", "conflict",
      "line");
  for (size_t r = 0; r < std::min(most, rows.size()); ++r) {
    const InstructionCounters& c = rows[r].line->sum;
    text += fmt::format(
        "{:6.2f} {:11.3g} {:6.1f} {:8.1f} {:8.2f}  {}  {}\n", 100 * rows[r].share,
        static_cast<double>(c.executed),
        ratio(static_cast<double>(c.lanes), static_cast<double>(c.executed)),
        ratio(static_cast<double>(c.sectors), static_cast<double>(rows[r].line->requests)),
        ratio(static_cast<double>(c.wavefronts), static_cast<double>(c.ideal_wavefronts)),
        *rows[r].place, shortened(*rows[r].kernel, 60));
  }
  return text;
}

std::string Profile::timeline() const {
  std::string text = "launches one after the other, at predicted times (r: node of a graph)\n\n";
  text += fmt::format("{:>6} {:>12} {:>10} {} {:<8} {:>22}  {}\n", "launch", "predicted at", "us",
                      "r", "limit", "blocks of threads", "kernel");
  double at = 0;
  for (size_t n = 0; n < entries_.size(); ++n) {
    const Entry& e = entries_[n];
    text += fmt::format("{:6} {:12.1f} {:10.2f} {} {:<8} {:>22}  {}\n", n + 1, at, e.prediction.us,
                        e.replayed ? 'r' : ' ', softgpu::name(e.prediction.limit),
                        shape_name(e.shape), e.kernel);
    at += e.prediction.us;
  }
  return text;
}

}  // namespace diffscm::softgpu
