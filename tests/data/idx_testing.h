// A data set of IDX files for tests.
#pragma once

#include "tests/engine/io_testing.h"

namespace diffscm::data {

// One image of 1 x 2 pixels, (value, 255), with the label `value` for each character.
inline void put_idx(const std::filesystem::path& images, const std::filesystem::path& labels,
                    const std::string& values) {
  const auto n = static_cast<char>(values.size());
  std::string pixels("\0\0\x08\x03\0\0\0", 7);
  pixels += n;
  pixels += std::string("\0\0\0\x01\0\0\0\x02", 8);
  std::string numbers("\0\0\x08\x01\0\0\0", 7);
  numbers += n;
  for (const char v : values) {
    pixels += {v, '\xff'};
    numbers += v;
  }
  diffscm::testing::put(images, pixels);
  diffscm::testing::put(labels, numbers);
}

}  // namespace diffscm::data
