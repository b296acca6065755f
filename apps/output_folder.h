// The folder that a command writes to.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "apps/command.h"
#include "engine/io/folder_lock.h"

namespace diffscm::apps {

// Makes `out` and keeps every other process out of it for as long as this lives. The results of an
// earlier `command` ("sample") in it are replaced or, where the command resumes, continued; a
// folder with another command's results is refused, before anything is changed. Make it when
// nothing else can be wrong any more. `lock`: processes that share a folder hold one name each.
class OutputFolder {
 public:
  OutputFolder(const std::filesystem::path& out, const std::string& command,
               const std::string& lock = ".lock");

  // Removes what an earlier run may have left and this one need not write.
  void clear(std::initializer_list<const char*> files) const;

 private:
  std::filesystem::path out_;
  io::FolderLock lock_;
};

// Makes a folder and those above it, unless they are there. Throws Error naming it.
void make_folder(const std::filesystem::path& folder);
// The one that a file will be in.
void make_folder_of(const std::filesystem::path& file);

// Throws UsageError where the file `out` is the file `input`, named by whatever path: writing it
// would lose what was read. `what`: "the model to export".
void keep_input(const std::filesystem::path& out, const std::filesystem::path& input,
                std::string_view what);

// What run.json begins with: the command, its flags as they were taken, and where it ran.
nlohmann::ordered_json run_record(const Common& common, const nlohmann::ordered_json& options);

}  // namespace diffscm::apps
