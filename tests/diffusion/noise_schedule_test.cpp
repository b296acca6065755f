#include "diffusion/noise_schedule.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace diffscm {
namespace {

void expect_alpha_bar(const NoiseSchedule& s, int t, double value) {
  EXPECT_NEAR(s.alpha_bar(t), value, 5e-6 * value) << name_of(s.kind()) << " t = " << t;
}

// Constants of guided-diffusion's schedules at T = 1000.
TEST(NoiseSchedule, Linear) {
  const NoiseSchedule s(ScheduleKind::linear, 1000);
  EXPECT_EQ(s.timesteps(), 1000);
  EXPECT_DOUBLE_EQ(s.beta(0), 1e-4);
  EXPECT_DOUBLE_EQ(s.beta(999), 0.02);
  expect_alpha_bar(s, 0, 0.9999);
  expect_alpha_bar(s, 100, 0.895142);
  expect_alpha_bar(s, 250, 0.521423);
  expect_alpha_bar(s, 500, 0.0777967);
  expect_alpha_bar(s, 740, 0.00383666);
  expect_alpha_bar(s, 750, 0.00330016);
  expect_alpha_bar(s, 990, 4.83705e-5);
  expect_alpha_bar(s, 999, 4.03583e-5);
}

TEST(NoiseSchedule, Cosine) {
  const NoiseSchedule s(ScheduleKind::cosine, 1000);
  EXPECT_NEAR(s.alpha_bar(0), 0.999959, 5e-7);
  expect_alpha_bar(s, 500, 0.492285);
  expect_alpha_bar(s, 750, 0.143179);
  expect_alpha_bar(s, 990, 1.96717e-4);
  expect_alpha_bar(s, 999, 2.42877e-9);
  EXPECT_DOUBLE_EQ(s.beta(999), 0.999);
}

TEST(NoiseSchedule, Refuses) {
  EXPECT_THROW(NoiseSchedule(ScheduleKind::linear, 20), Error);
  EXPECT_THROW(NoiseSchedule(ScheduleKind::cosine, 0), Error);
  EXPECT_NO_THROW(NoiseSchedule(ScheduleKind::linear, 21));
  EXPECT_NO_THROW(NoiseSchedule(ScheduleKind::cosine, 1));
  const NoiseSchedule s(ScheduleKind::linear, 1000);
  EXPECT_THROW(s.alpha_bar(-1), Error);
  EXPECT_THROW(s.beta(1000), Error);
  EXPECT_EQ(parse_schedule_kind("cosine"), ScheduleKind::cosine);
  EXPECT_THROW(parse_schedule_kind("sigmoid"), Error);
}

TEST(Chain, Respacing) {
  const NoiseSchedule s(ScheduleKind::linear, 1000);
  const Chain chain(s, 100);
  EXPECT_EQ(chain.levels(), 100);
  EXPECT_EQ(chain.alpha_bar(0), 1.0);
  EXPECT_EQ(chain.sigma(0), 0.0);
  for (int level = 1; level <= 100; ++level) {
    EXPECT_EQ(chain.timestep(level), (level - 1) * 10);
    EXPECT_EQ(chain.alpha_bar(level), s.alpha_bar((level - 1) * 10));
    EXPECT_LT(chain.alpha_bar(level), chain.alpha_bar(level - 1));
  }
  EXPECT_EQ(Chain(s, 1000).timestep(1000), 999);
  EXPECT_EQ(Chain(s, 3).timestep(3), 2 * 334);  // the first stride that visits three
  EXPECT_EQ(Chain(s, 1).timestep(1), 0);
  EXPECT_EQ(Chain(NoiseSchedule(ScheduleKind::cosine, 1), 1).levels(), 1);
}

TEST(Chain, RefusesImpossibleRespacingAndNamesNeighbours) {
  const NoiseSchedule s(ScheduleKind::linear, 1000);
  for (const int levels : {0, -1, 1001}) EXPECT_THROW(Chain(s, levels), Error);
  try {
    Chain(s, 300);
    FAIL() << "300 has no integer stride";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("300"), std::string::npos) << text;
    EXPECT_NE(text.find("250"), std::string::npos) << text;
    EXPECT_NE(text.find("334"), std::string::npos) << text;
  }
}

TEST(Chain, LevelsAndFractions) {
  const Chain chain(NoiseSchedule(ScheduleKind::linear, 1000), 100);
  EXPECT_EQ(chain.levels_of_fraction(0.75), 75);
  EXPECT_EQ(chain.levels_of_fraction(0.29), 29);
  EXPECT_EQ(chain.levels_of_fraction(1), 100);
  for (const double f : {0.0, -0.5, 1.01, 0.001, std::nan("")})
    EXPECT_THROW(chain.levels_of_fraction(f), Error) << f;
  EXPECT_EQ(chain.checked_levels(0), 100);
  EXPECT_EQ(chain.checked_levels(7), 7);
  EXPECT_THROW(chain.checked_levels(101), Error);
  EXPECT_THROW(chain.checked_levels(-1), Error);
  EXPECT_THROW(chain.timestep(0), Error);
  EXPECT_THROW(chain.alpha_bar(101), Error);
}

}  // namespace
}  // namespace diffscm
