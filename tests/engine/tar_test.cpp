#include "engine/io/tar.h"

#include "tests/engine/io_testing.h"
#include "tests/engine/tar_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::make_tar;
using diffscm::testing::put;
using diffscm::testing::TarEntry;
using diffscm::testing::TarFormat;
using diffscm::testing::TemporaryFolder;

// Names and bytes of all members, read on the way and again from their headers on.
std::vector<std::pair<std::string, std::string>> contents(const std::filesystem::path& path) {
  std::vector<TarMember> members;
  std::vector<std::pair<std::string, std::string>> all;
  list_tar(path, [&](const TarMember& member, const ReadMember& read) {
    members.push_back(member);
    all.emplace_back(member.name, "");
    if (members.size() % 2 == 0) return;  // some are not read when they are passed
    const Bytes bytes = read();
    all.back().second.assign(bytes.begin(), bytes.end());
  });
  const FileReader archive(path);
  for (size_t i = members.size(); i-- > 0;) {
    const Bytes bytes = read_tar_member(archive, members[i], members[i].name);
    const std::string again(bytes.begin(), bytes.end());
    EXPECT_TRUE(i % 2 == 1 || again == all[i].second);
    all[i].second = again;
  }
  return all;
}

TEST(Tar, members_of_every_dialect_are_found_again) {
  const TemporaryFolder folder;
  const std::string longer = "some/" + std::string(150, 'x') + "/" + std::string(120, 'y') + ".jpg";
  const std::vector<std::pair<std::string, std::string>> files{
      {"a.jpg", "first"}, {"folder/b.cls", ""}, {longer, std::string(70000, 'z')}, {"c", "last"}};
  for (const TarFormat format : {TarFormat::gnu, TarFormat::pax}) {
    std::vector<TarEntry> entries{{"folder", "", AE_IFDIR}};
    for (const auto& [name, bytes] : files) entries.push_back({name, bytes});
    entries.push_back({"link", "/etc/passwd", AE_IFLNK});
    entries.push_back({"device", "", AE_IFCHR});
    put(folder / "a.tar", make_tar(entries, format));
    EXPECT_EQ(contents(folder / "a.tar"), files);
  }
  put(folder / "a.tar", make_tar({{"a.jpg", "first"}}));
  EXPECT_EQ(contents(folder / "a.tar").size(), 1u);
}

TEST(Tar, names_lead_nowhere) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "inner");
  const std::vector<std::pair<std::string, std::string>> files{{"../outside.jpg", "x"},
                                                               {"/tmp/absolute.jpg", "y"}};
  put(folder / "inner/a.tar", make_tar({{files[0].first, "x"}, {files[1].first, "y"}}));
  EXPECT_EQ(contents(folder / "inner/a.tar"), files);
  EXPECT_EQ(folder.files(), 1);
}

TEST(Tar, damage_is_an_error_or_fewer_members) {
  const TemporaryFolder folder;
  const auto path = folder / "a.tar";
  for (const TarFormat format : {TarFormat::ustar, TarFormat::gnu, TarFormat::pax}) {
    const std::string bytes =
        make_tar({{"a.jpg", std::string(700, 'a')}, {"b.cls", "3"}, {"c.json", "{}"}}, format);
    const auto read = [&] {
      for (const auto& [name, text] : contents(path)) EXPECT_LE(text.size(), bytes.size());
    };
    put(path, bytes);
    EXPECT_EQ(contents(path).size(), 3u);
    EXPECT_GT(expect_bit_flips_survived(path, bytes, read, 700), 10);
    // Every length of the plain dialect.
    const size_t step = format == TarFormat::ustar ? 1 : 61;
    for (size_t length = 0; length < bytes.size(); length += step) {
      put(path, bytes.substr(0, length));
      try {
        read();
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      }
    }
  }
}

TEST(Tar, what_is_no_plain_archive_is_named) {
  const TemporaryFolder folder;
  const auto path = folder / "a.tar";
  const auto refuse = [&](const std::string& bytes, std::string_view message) {
    put(path, bytes);
    expect_error([&] { contents(path); }, message);
  };
  refuse("", "is empty");
  refuse("\x1f\x8b\x08 and so on", "is compressed");
  refuse(std::string(600, 'x'), "a.tar\" is no tar archive");
  std::filesystem::remove(path);
  expect_error([&] { contents(path); }, "a.tar");
  // A size of 8 GB in base 256, with the header's checksum made right.
  std::string bytes = make_tar({{"a.jpg", "first"}});
  bytes.replace(124, 12, std::string("\x80\0\0\0\0\0\0\x02\0\0\0\0", 12));
  bytes.replace(148, 8, "        ");
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[i]);
  bytes.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  refuse(bytes, "a member of 8589934592 bytes");
}

TEST(Tar, an_archive_that_changed_is_named) {
  const TemporaryFolder folder;
  put(folder / "a.tar", make_tar({{"a.jpg", "first"}, {"b.jpg", "second"}}));
  std::vector<TarMember> members;
  list_tar(folder / "a.tar", [&](const TarMember& m, const ReadMember&) { members.push_back(m); });
  put(folder / "a.tar", make_tar({{"a.jpg", std::string(600, 'x')}, {"b.jpg", "other"}}));
  const FileReader archive(folder / "a.tar");
  expect_error([&] { read_tar_member(archive, members[1], "\"b.jpg\" in \"a.tar\""); },
               "\"b.jpg\" in \"a.tar\"");
}

}  // namespace
}  // namespace diffscm::io
