#include "apps/output_folder.h"

#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>

#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

struct Sign {
  const char* file;
  const char* commands;  // whose results the file is
};
constexpr std::array kSigns{
    Sign{"checkpoint.safetensors", "train"},
    Sign{"model.safetensors", "train"},
    Sign{"class.0", "train"},
    Sign{"samples.npz", "sample or scm sample"},
    Sign{"abduction.npz", "abduct"},
    Sign{"counterfactuals.npz", "counterfactual or scm counterfactual"},
    Sign{"fit.json", "scm fit"},
    Sign{"samples.csv", "scm sample"},
    Sign{"counterfactuals.csv", "scm counterfactual"},
    Sign{"experiment.json", "evaluate or sweep"},
};

bool wrote(std::string_view commands, std::string_view command) {
  for (const auto& one : std::views::split(commands, std::string_view(" or ")))
    if (std::ranges::equal(one, command)) return true;
  return false;
}

fs::path made(const fs::path& out, const std::string& command) {
  std::error_code ignored;
  for (const Sign& sign : kSigns)
    require(wrote(sign.commands, command) || !fs::exists(out / sign.file, ignored),
            "--out {} holds what {} wrote ({}): choose another folder for {}", io::show(out),
            sign.commands, sign.file, command);
  make_folder(out);
  return out;
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& out, const std::string& command, const std::string& lock)
    : out_(made(out, command)), lock_(out_, lock) {}

void OutputFolder::clear(std::initializer_list<const char*> files) const {
  for (const char* file : files) fs::remove(out_ / file);
}

void make_folder(const fs::path& folder) {
  std::error_code error, ignored;
  fs::create_directories(folder, error);
  require(fs::is_directory(folder, ignored), "cannot make the folder {}: {}", io::show(folder),
          error.message());
}

void make_folder_of(const fs::path& file) {
  if (file.has_parent_path()) make_folder(file.parent_path());
}

void keep_input(const fs::path& out, const fs::path& input, std::string_view what) {
  std::error_code ignored;
  if (fs::equivalent(input, out, ignored))
    throw UsageError(fmt::format("--out {}: that is {}; choose another", io::show(out), what));
}

nlohmann::ordered_json run_record(const Common& common, const nlohmann::ordered_json& options) {
  return {{"command", common.command_line},
          {"version", DIFFSCM_VERSION},
          {"device", name_of(common.target())},
          {"precision", common.precision},
          {"threads", threads()},
          {"seed", common.seed},
          {"options", options}};
}

}  // namespace diffscm::apps
