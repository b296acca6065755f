#include "engine/io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
}

}  // namespace
}  // namespace diffscm::io
