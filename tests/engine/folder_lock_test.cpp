#include "engine/io/folder_lock.h"

#include <sys/wait.h>

#include <memory>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using testing::expect_error;

TEST(FolderLock, OneHolderAtATimeAndNothingIsLeft) {
  const testing::TemporaryFolder folder;
  auto first = std::make_unique<FolderLock>(folder.path());
  expect_error([&] { FolderLock second(folder.path()); }, "in use by another run");
  expect_error([&] { FolderLock second(folder.path()); }, std::to_string(::getpid()));
  FolderLock other_name(folder.path(), ".lock-1-of-2");
  first.reset();
  EXPECT_EQ(folder.files(), 1);  // the other name's
  FolderLock again(folder.path());
}

TEST(FolderLock, AKilledProcessHindersNobody) {
  const testing::TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    ::raise(SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(std::filesystem::exists(folder / ".lock"));
  FolderLock lock(folder.path());
}

TEST(FolderLock, AMissingFolderIsAnError) {
  expect_error([] { FolderLock lock("/nonexistent/folder"); }, "/nonexistent/folder");
}

}  // namespace
}  // namespace diffscm::io
