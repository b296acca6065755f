#include "engine/io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

TEST(File, reads_what_was_written) {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += static_cast<char>(i * 7);
  atomic_write(folder / "a", bytes);
  EXPECT_EQ(get(folder / "a"), bytes);
  atomic_write(folder / "a", std::string_view("shorter"));
  EXPECT_EQ(get(folder / "a"), "shorter");
  EXPECT_EQ(folder.files(), 1);
}

TEST(File, refuses_what_is_not_a_file) {
  const TemporaryFolder folder;
  expect_error([&] { read_file(folder / "absent"); }, "No such file");
  expect_error([&] { read_file(folder.path()); }, "is a directory");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error([&] { read_file(folder / "pipe"); }, "pipe or device");
  expect_error([&] { read_file("/dev/zero"); }, "pipe or device");
}

TEST(File, respects_the_limit) {
  const TemporaryFolder folder;
  put(folder / "a", "12345");
  EXPECT_EQ(read_file(folder / "a", 5).size(), 5u);
  expect_error([&] { read_file(folder / "a", 4); }, "5 bytes");
}

TEST(File, a_short_file_is_an_error_not_zeros) {
  const TemporaryFolder folder;
  put(folder / "a", "12345");
  Bytes out(3);
  const FileReader reader(folder / "a");
  reader.read(2, out);
  EXPECT_EQ(std::string(out.begin(), out.end()), "345");
  expect_error([&] { reader.read(3, out); }, "1 bytes are missing");
}

TEST(AtomicWrite, a_failing_callback_leaves_the_old_file) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  expect_error(
      [&] {
        atomic_write(folder / "a", [](FileSink& sink) {
          sink.write("new");
          fail("the power went out");
        });
      },
      "the power went out");
  EXPECT_EQ(get(folder / "a"), "old");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicWrite, a_full_disk_leaves_the_old_file) {
  const TemporaryFolder folder;
  put(folder / "a", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    atomic_write(folder / "a", std::string(100000, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
  EXPECT_EQ(get(folder / "a"), "old");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicWrite, names_the_file_it_cannot_write) {
  const TemporaryFolder folder;
  expect_error([&] { atomic_write(folder / "absent/a", std::string_view("x")); }, "absent/a");
  std::filesystem::create_directory(folder / "b");
  expect_error([&] { atomic_write(folder / "b", std::string_view("x")); }, "is a directory");
  expect_error([&] { atomic_write("", std::string_view("x")); }, "name a file");
}

TEST(AtomicWrite, gives_the_reason_of_the_call_that_failed) {
  const TemporaryFolder folder;
  // What stands at the target while the file is filled cannot be replaced.
  expect_error(
      [&] {
        atomic_write(folder / "a", [&](FileSink&) {
          std::filesystem::create_directory(folder / "a");
          errno = 0;
        });
      },
      "Is a directory");
  // A descriptor closed under its feet cannot be synchronised.
  expect_error(
      [&] {
        atomic_write(folder / "b", [&](FileSink&) {
          for (int descriptor = 3; descriptor < 1000; ++descriptor) {
            std::error_code ignored;
            const auto target = std::filesystem::read_symlink(
                "/proc/self/fd/" + std::to_string(descriptor), ignored);
            if (target.string().find("/.b.") != std::string::npos) ::close(descriptor);
          }
          errno = 0;
        });
      },
      "Bad file descriptor");
  EXPECT_EQ(folder.files(), 1);
}

TEST(File, a_folder_is_listed_in_order) {
  const TemporaryFolder folder;
  for (const char* name : {"b", "a.gz", "a"}) put(folder / name, "");
  EXPECT_EQ(list_folder(folder.path()),
            (std::vector<std::filesystem::path>{folder / "a", folder / "a.gz", folder / "b"}));
  expect_error([&] { list_folder(folder / "absent"); }, "No such file");
  expect_error([&] { list_folder(folder / "a"); }, "Not a directory");
}

TEST(FileSink, reports_a_full_device) {
  const int descriptor = ::open("/dev/full", O_WRONLY);
  if (descriptor < 0) GTEST_SKIP() << "no /dev/full";
  FileSink sink("full", descriptor);
  expect_error([&] { sink.write("x"); }, "No space left");
  ::close(descriptor);
}

TEST(Sha256, agrees_with_the_standard) {
  // FIPS 180-2, appendix B.1, and the empty message.
  const std::string abc = "abc";
  EXPECT_EQ(sha256({reinterpret_cast<const uint8_t*>(abc.data()), abc.size()}),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const TemporaryFolder folder;
  const std::string large(3'000'001, 'a');  // more than one chunk
  put(folder / "a", large);
  EXPECT_EQ(sha256_of_file(folder / "a"),
            sha256({reinterpret_cast<const uint8_t*>(large.data()), large.size()}));
}

TEST(Show, keeps_a_message_on_one_short_line) {
  EXPECT_EQ(show("plain"), "\"plain\"");
  EXPECT_EQ(show(std::string_view("a\nb\x1b", 4)), "\"a\\x0ab\\x1b\"");
  EXPECT_LT(show(std::string(100000, 'x')).size(), 100u);
  EXPECT_EQ(show("caf\xc3\xa9 \xe9"), "\"caf\xc3\xa9 \\xe9\"");
  // A letter of two bytes is not cut in the middle.
  EXPECT_EQ(show(std::string(79, 'x') + "\xc3\xa9"), "\"" + std::string(79, 'x') + "...\"");
}

TEST(Utf8, follows_the_standard) {
  // Unicode 15, table 3-7: the ends of each row, and what lies just outside.
  for (const char* text : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xec\xbf\xbf",
                           "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(text)) << show(text);
  for (const char* text :
       {"\x80", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x9f\xbf", "\xe1\x80", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ab\xe9"})
    EXPECT_FALSE(is_utf8(text)) << show(text);
  EXPECT_TRUE(is_utf8(std::string_view("\0", 1)));
  EXPECT_EQ(as_utf8("caf\xc3\xa9\n"), "caf\xc3\xa9\n");
  EXPECT_EQ(as_utf8("\xe9"
                    "caf\xc3"),
            "\\xe9"
            "caf\\xc3");
}

}  // namespace
}  // namespace diffscm::io
