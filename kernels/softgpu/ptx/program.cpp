#include "kernels/softgpu/ptx/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace diffscm::softgpu {

std::optional<Special> special(std::string_view name) {
  static const char* const names[] = {"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                      "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                      "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid",  "%nwarpid"};
  static_assert(std::size(names) == kSpecials);
  const auto* found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) return {};
  return static_cast<Special>(found - names);
}

std::string Program::where(uint32_t instruction) const {
  const Origin& origin = origins.at(instruction);
  const auto line = [&](uint32_t file, uint32_t number) {
    const std::string& path = file < files->size() ? (*files)[file] : std::string();
    return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), number);
  };
  const ptx::SourcePlace& place = origin.place;
  if (place.line == 0) return fmt::format("PTX line {}", origin.ptx_line);
  if (place.inlined_line == 0) return line(place.file, place.line);
  return fmt::format("{} (inlined at {})", line(place.file, place.line),
                     line(place.inlined_file, place.inlined_line));
}

}  // namespace diffscm::softgpu
