// A profile for people, and for programs.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/softgpu/profile.h"

namespace diffscm::softgpu {
namespace {

double share(double part, double all) {
  return all == 0 ? 0 : part / all;
}

Limit limit_of(const std::array<double, kLimits>& us_limited) {
  return static_cast<Limit>(std::max_element(us_limited.begin(), us_limited.end()) -
                            us_limited.begin());
}

std::string shape_name(const std::optional<LaunchShape>& shape) {
  const auto extent = [](const Extent& e) {
    if (e.z > 1) return fmt::format("{}x{}x{}", e.x, e.y, e.z);
    return e.y > 1 ? fmt::format("{}x{}", e.x, e.y) : fmt::format("{}", e.x);
  };
  return shape ? fmt::format("{} of {}", extent(shape->grid), extent(shape->block)) : "";
}

std::string shortened(const std::string& text, size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

}  // namespace

std::vector<std::pair<std::string, const Profile::Total*>> Profile::by_time() const {
  std::vector<std::pair<std::string, const Total*>> order;
  for (const auto& [name, t] : totals_) order.emplace_back(name, &t);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second->us > b.second->us; });
  return order;
}

std::vector<Profile::Row> Profile::by_instructions() const {
  std::vector<Row> rows;
  for (const auto& [kernel, lines] : lines_)
    for (const auto& [place, count] : lines) rows.push_back({&kernel, &place, &count});
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.count->instructions > b.count->instructions;
  });
  return rows;
}

double Profile::us() const {
  double all = 0;
  for (const Entry& e : entries_) all += e.prediction.us;
  return all;
}

double Profile::occupancy(const Total& t) const {
  return t.warps_per_multiprocessor * double{kWarp} / device_.threads;
}

std::string Profile::kernels() const {
  const double all = us();
  std::string text = fmt::format(
      "kernels, predicted for {}: {:.1f} us in {} launches; no time here was measured\n"
      "instr: of the machine, estimated, by all warps; sec/req: 32-byte sectors per request to "
      "global memory;\n"
      "conflict: passes over the banks of shared memory, over those needed; occ: warps that a "
      "multiprocessor holds, of its most\n\n",
      device_.name, all, entries_.size());
  text += fmt::format(
      "{:>12} {:>6} {:>7} {:>10} {:<8} {:>9} {:>6} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>5} "
      "{:>5}  {}\n",
      "predicted us", "%", "calls", "us/call", "limit", "instr", "lanes", "sec/req", "conflict",
      "L2 MB", "mem MB", "mma", "instr/mma", "regs", "occ %", "kernel");
  for (const auto& [name, t] : by_time()) {
    const Count& c = t->count;
    text += fmt::format(
        "{:12.1f} {:6.1f} {:7} {:10.2f} {:<8} {:9.3g} {:6.1f} {:8.1f} {:8.2f} {:9.2f} {:9.2f} "
        "{:9.3g} {:>9} {:5} {:5.0f}  {}\n",
        t->us, 100 * share(t->us, all), t->launches, t->us / static_cast<double>(t->launches),
        softgpu::name(limit_of(t->us_limited)), c.instructions, c.lanes(), c.sectors_per_request(),
        c.conflict(), t->l2_bytes / 1e6, t->memory_bytes / 1e6, c.mma,
        c.mma == 0 ? "" : fmt::format("{:.1f}", c.instructions / c.mma), t->registers,
        100 * occupancy(*t), name);
  }
  return text;
}

std::string Profile::lines(size_t most) const {
  const std::vector<Row> rows = by_instructions();
  double all = 0;
  for (const Row& r : rows) all += r.count->instructions;
  most = std::min(most, rows.size());
  std::string text = fmt::format(
      "source lines by machine instructions, predicted for {}, the first {} of {}\n\n{:>6} {:>9} "
      "{:>6} {:>8} {:>8} {:>9}  {}\n",
      device_.name, most, rows.size(), "%", "instr", "lanes", "sec/req", "conflict", "mma", "line");
  for (size_t r = 0; r < most; ++r) {
    const Count& c = *rows[r].count;
    text += fmt::format("{:6.2f} {:9.3g} {:6.1f} {:8.1f} {:8.2f} {:9.3g}  {}  {}\n",
                        100 * share(c.instructions, all), c.instructions, c.lanes(),
                        c.sectors_per_request(), c.conflict(), c.mma, *rows[r].place,
                        shortened(*rows[r].kernel, 60));
  }
  return text;
}

std::string Profile::timeline() const {
  std::string text = fmt::format(
      "launches one after the other, at times predicted for {} (r: node of a graph)\n\n",
      device_.name);
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

std::string Profile::json() const {
  using Json = nlohmann::ordered_json;
  const auto counted = [](Json row, const Count& c) {
    row.update({{"instructions", c.instructions},
                {"lanes", c.lanes()},
                {"sectors_per_request", c.sectors_per_request()},
                {"bank_conflict", c.conflict()},
                {"mma", c.mma}});
    return row;
  };
  Json kernels = Json::array(), lines = Json::array(), launches = Json::array();
  for (const auto& [name, t] : by_time()) {
    Json row = counted({{"kernel", name},
                        {"launches", t->launches},
                        {"predicted_us", t->us},
                        {"limit", softgpu::name(limit_of(t->us_limited))}},
                       t->count);
    row.update({{"l2_bytes", t->l2_bytes},
                {"memory_bytes", t->memory_bytes},
                {"registers", t->registers},
                {"occupancy", occupancy(*t)}});
    kernels.push_back(std::move(row));
  }
  for (const Row& r : by_instructions())
    lines.push_back(counted({{"kernel", *r.kernel}, {"line", *r.place}}, *r.count));
  for (const Entry& e : entries_) {
    Json row = {{"kernel", e.kernel},
                {"predicted_us", e.prediction.us},
                {"limit", softgpu::name(e.prediction.limit)},
                {"replayed", e.replayed}};
    if (e.shape) {
      const Extent &grid = e.shape->grid, &block = e.shape->block;
      row["blocks"] = {grid.x, grid.y, grid.z};
      row["threads"] = {block.x, block.y, block.z};
    }
    launches.push_back(std::move(row));
  }
  return Json{{"predicted_for", device_.name},
              {"predicted_us", us()},
              {"kernels", std::move(kernels)},
              {"lines", std::move(lines)},
              {"launches", std::move(launches)}}
             .dump(1) +
         "\n";
}

}  // namespace diffscm::softgpu
