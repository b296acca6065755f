// The tests' own instruments: what an operator must not do to an array is noticed.
#include <gtest/gtest-spi.h>

#include "tests/kernels/support.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// Writes `value` to element `at`, counted from the start of the array, behind its back.
template <class T>
void write(const Device& d, const Array<T>& array, int64_t at, float value) {
  d.runtime.copy(const_cast<float*>(array.data()) + at, &value, sizeof value, Copy::to_device, {});
}

constexpr float kFromAnInputsBand = std::bit_cast<float>(0xffffffffu);

TARGET_TEST(Device, StraysAreNoticed) {
  static const Device* device;  // the macro's statement cannot capture
  device = &d;
  for (const int64_t offset : {0, 1}) {
    d.offset = offset;
    EXPECT_NONFATAL_FAILURE(write(*device, device->output(5), -1, 1), "before an array of 5");
    EXPECT_NONFATAL_FAILURE(write(*device, device->output(5), 5, 1), "past an array of 5");
    EXPECT_NONFATAL_FAILURE(write(*device, device->input(Floats{1, 2, 3}), 2, 4), "was changed");
    EXPECT_NONFATAL_FAILURE(write(*device, device->inout(Floats{1, 2}), 2, 0), "past an array");
    EXPECT_NONFATAL_FAILURE(write(*device, device->output(5), 5, kFromAnInputsBand), "past an");
  }
}

TARGET_TEST(Device, ArraysHoldWhatTheyWereGiven) {
  for (const int64_t offset : {0, 1}) {
    d.offset = offset;
    const Floats values = {1, 2.5f, -3};
    EXPECT_EQ(d.input(values).floats(), values);
    EXPECT_EQ(d.inout<bf16>(values).floats(), values);
    EXPECT_EQ(d.input<bf16>(Floats{1 + 1.0f / 512}).floats(), Floats{1});
    EXPECT_EQ(d.input(Floats{}).data(), nullptr);
    auto y = d.output<bf16>(3);
    for (const float v : y.floats()) EXPECT_TRUE(std::isnan(v));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(y.data()) % 256, 2 * offset);
    Array<bf16> moved = std::move(y);
    moved.upload(stored<bf16>(values));
    EXPECT_EQ(moved.floats(), values);
  }
}

TEST(Device, ExpectCloseNotices) {
  EXPECT_NONFATAL_FAILURE(expect_close(Floats{1, 2.001f}, {1, 2}, 1e-4, ""), "element 1");
  EXPECT_NONFATAL_FAILURE(expect_close(Floats{NAN, 2}, {1, 2}, 1, ""), "element 0");
  EXPECT_NONFATAL_FAILURE(expect_close(Floats{1.01f, 2}, {1, 2}, 0, "", 1.0 / 256), "element 0");
  expect_close(Floats{1.0039f, 2}, {1, 2}, 0, "", 1.0 / 256);
}

}  // namespace
}  // namespace diffscm::kernels
