// Tar archives (ustar, GNU, pax), read by libarchive: a list of members, and their bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/io/file.h"

namespace diffscm::io {

// A regular file in an archive. `header` is where its header begins, which read_tar_member() wants.
struct TarMember {
  std::string name;
  uint64_t header = 0, bytes = 0;
};

// Calls `visit` for each regular file, in order; `read` gives its bytes. Links, folders and devices
// are passed over. Nothing is written anywhere, whatever members are called. Throws Error naming
// the archive when it is compressed, damaged or cut short.
using ReadMember = std::function<Bytes()>;
void list_tar(const std::filesystem::path& path,
              const std::function<void(const TarMember&, const ReadMember& read)>& visit);

// The bytes of a member that list_tar() found in this archive, which is open for reading; `where`
// names it in messages.
Bytes read_tar_member(const FileReader& archive, const TarMember& member, std::string_view where);

}  // namespace diffscm::io
