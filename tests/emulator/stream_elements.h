// What passes through the kernel of bulk_stream.h, for tests of any compiler.
#pragma once

namespace diffscm::kernels::test {

inline constexpr int kSlotNumbers = 480;

// What it makes of x[i] = i / 4.
inline float streamed(int i) {
  const int slot = i / kSlotNumbers;
  return static_cast<float>((2 * slot + 1) * kSlotNumbers - 1 - i) / 4 + static_cast<float>(slot);
}

}  // namespace diffscm::kernels::test
