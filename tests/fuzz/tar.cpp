#include "engine/io/tar.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive_file({data, size}, [](const std::filesystem::path& path) {
    std::vector<io::TarMember> members;
    io::list_tar(path, [&](const io::TarMember& member, const io::ReadMember& read) {
      members.push_back(member);
      if (members.size() % 2 == 0) read();
    });
    const io::FileReader archive(path);
    for (const io::TarMember& member : members) io::read_tar_member(archive, member, "member");
  });
  return 0;
}
