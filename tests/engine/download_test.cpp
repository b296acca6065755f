#include "engine/io/download.h"

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::TemporaryFolder;

TEST(Download, only_https) {
  const TemporaryFolder folder;
  for (const char* url : {"http://127.0.0.1/a", "file:///etc/passwd", "ftp://a", "", "a"})
    expect_error([&] { download({url, "", 10}, folder / "a"); }, "only https");
  EXPECT_EQ(folder.files(), 0);
}

TEST(Download, an_unreachable_server_is_named) {
  const TemporaryFolder folder;
  // Port 1 of this machine: refused at once, without a network.
  expect_error(
      [&] {
        download({"https://127.0.0.1:1/data.gz", "", 10}, folder / "a");
      },
      "https://127.0.0.1:1/data.gz");
  EXPECT_EQ(folder.files(), 0);
}

TEST(Download, a_wrong_checksum_is_an_error) {
  const std::string right(64, 'a');
  EXPECT_NO_THROW(verify_sha256(right, right, "https://host/a"));
  expect_error([&] { verify_sha256(std::string(64, 'b'), right, "https://host/a"); },
               "\"https://host/a\" has sha256 bbbb");
}

}  // namespace
}  // namespace diffscm::io
