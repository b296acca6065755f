#include "kernels/emulator/source_line.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

namespace diffscm::kernels::emulator {
namespace {

std::vector<std::string> run_addr2line(const void* pc) {
  Dl_info info;
  if (dladdr(pc, &info) == 0 || info.dli_fbase == nullptr) return {};
  // A return address is that of the next instruction.
  const auto offset =
      reinterpret_cast<uintptr_t>(pc) - 1 - reinterpret_cast<uintptr_t>(info.dli_fbase);
  // dladdr knows the program itself only by the name it was started with.
  const std::string file =
      fmt::format("$(readlink /proc/{}/exe)", std::to_string(static_cast<long>(getpid())));
  const std::string command = fmt::format("addr2line -i -e {} 0x{:x} 2>/dev/null", file, offset);
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  std::vector<std::string> lines, others;
  char buffer[4096];
  while (pipe && std::fgets(buffer, sizeof(buffer), pipe.get()) != nullptr) {
    std::string_view line = buffer;  // FILE:LINE[ (discriminator N)]
    line = line.substr(0, line.find_first_of(" \n"));
    if (line.starts_with("?") || line.ends_with(":?") || line.ends_with(":0")) continue;
    line = short_path(line);
    const bool own = line.starts_with("kernels/emulator/") || line.starts_with("/usr/");
    (own ? others : lines).emplace_back(line);
  }
  return lines.empty() ? others : lines;
}

}  // namespace

std::string_view short_path(std::string_view path) {
  for (const std::string_view top : {"kernels/", "tests/"}) {
    const size_t at = path.rfind(top);
    if (at != path.npos && (at == 0 || path[at - 1] == '/')) return path.substr(at);
  }
  return path;
}

std::vector<std::string> source_lines(const void* pc) {
  static std::mutex mutex;
  static std::map<const void*, std::vector<std::string>> known;
  if (pc == nullptr) return {};
  const std::lock_guard lock(mutex);
  const auto found = known.find(pc);
  if (found != known.end()) return found->second;
  return known[pc] = run_addr2line(pc);
}

std::string place(const Site& site) {
  for (const std::string& line : source_lines(site.pc))
    if (!line.starts_with("kernels/cuda/device/")) return line;
  return site.file == nullptr ? "an unknown place"
                              : fmt::format("{}:{}", short_path(site.file), site.line);
}

std::string place_with_callers(const Site& site) {
  const std::vector<std::string> lines = source_lines(site.pc);
  if (lines.empty()) return place(site);
  std::string text = lines[0];
  for (size_t i = 1; i < lines.size(); ++i) text += (i == 1 ? ", called from " : ", ") + lines[i];
  return text;
}

}  // namespace diffscm::kernels::emulator
