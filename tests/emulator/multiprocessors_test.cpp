// How many multiprocessors kernels are told of.
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/emulator/launch.h"
#include "kernels/error.h"

namespace diffscm::kernels::emu {
namespace {

// Each in a process of its own: the environment is read once.
[[noreturn]] void exit_with_count(const char* wish) {
  setenv("DIFFSCM_EMU_MULTIPROCESSORS", wish, 1);
  try {
    std::exit(multiprocessors());
  } catch (const Error& e) {
    fmt::print(stderr, "{}", e.what());
    std::exit(255);
  }
}

TEST(EmulatorDeathTest, MultiprocessorsAreAsManyAsAskedFor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(exit_with_count("132"), testing::ExitedWithCode(132), "");
  EXPECT_EXIT(exit_with_count("1"), testing::ExitedWithCode(1), "");
  for (const char* wish : {"0", "many", "12x", "99999", ""})
    EXPECT_EXIT(exit_with_count(wish), testing::ExitedWithCode(255),
                "give a number from 1 to 1024");
}

}  // namespace
}  // namespace diffscm::kernels::emu
