#include "engine/io/stored_floats.h"

#include <cmath>
#include <cstring>

#include "engine/io/half.h"
#include "engine/io/safetensors.h"
#include "engine/io/torch_file.h"
#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::TemporaryFolder;

TEST(StoredFloats, halves_round_to_the_nearest_of_them_ties_to_even) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = float_of_half(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_of_half(half_of_float(value)))) << bits;
      continue;
    }
    ASSERT_EQ(half_of_float(value), half) << value;
    if ((bits & 0x7fffu) >= 0x7bffu) continue;  // no half above it
    const float next = float_of_half(static_cast<uint16_t>(bits + 1));
    const float middle = value / 2 + next / 2;
    const auto even = static_cast<uint16_t>(bits + (bits & 1u));
    ASSERT_EQ(half_of_float(middle), even) << middle;
    ASSERT_EQ(half_of_float(std::nextafter(middle, value)), half) << middle;
    ASSERT_EQ(half_of_float(std::nextafter(middle, next)), static_cast<uint16_t>(bits + 1))
        << middle;
  }
  EXPECT_EQ(half_of_float(65519.996f), 0x7bff);
  EXPECT_EQ(half_of_float(65520.0f), 0x7c00);
  EXPECT_EQ(half_of_float(-1e30f), 0xfc00);
}

TEST(StoredFloats, files_of_sixteen_bits_come_back_rounded) {
  const TemporaryFolder folder;
  const std::vector<float> values{1, -2.00048828125f, 0.1f, 3e-6f};
  const std::vector<float> halves{1, -2, 0.0999755859375f, 0x1.9p-19f};
  const std::vector<float> brains{1, -2, 0.10009765625f, 0x1.92p-19f};
  const std::map<std::string, Tensor> tensors{{"w", Tensor::from(values, {2, 2})},
                                              {"n", Tensor::from(std::vector<int64_t>{7}, {1})}};
  for (const auto& [name, expected] : {std::pair{"f16", halves}, std::pair{"bf16", brains}}) {
    const StoredFloats floats = parse_stored_floats(name);
    write_safetensors(folder / "m", {tensors, {}}, floats);
    write_torch_file(folder / "m.pt", tensors, floats);
    for (const auto& read :
         {read_safetensors(folder / "m").tensors, TorchFile(folder / "m.pt").read("")}) {
      EXPECT_EQ(read.at("w").to_vector(), expected) << name;
      EXPECT_EQ(read.at("w").shape(), (Shape{2, 2}));
      EXPECT_EQ(*read.at("n").data_i64(), 7);
    }
  }
}

TEST(StoredFloats, what_does_not_fit_is_named) {
  const TemporaryFolder folder;
  const Tensor large = Tensor::from(std::vector<float>{1, 70000}, {2});
  expect_error(
      [&] {
        write_safetensors(folder / "m", {{{"w", large}}, {}}, StoredFloats::f16);
      },
      "tensor \"w\" has 70000, which is too large for f16");
  EXPECT_FALSE(std::filesystem::exists(folder / "m"));
  write_safetensors(folder / "m", {{{"w", large}}, {}}, StoredFloats::bf16);
  const Tensor infinite = Tensor::from(std::vector<float>{INFINITY}, {1});
  write_safetensors(folder / "m", {{{"w", infinite}}, {}}, StoredFloats::f16);
  EXPECT_TRUE(std::isinf(*read_safetensors(folder / "m").tensors.at("w").data()));
  expect_error([&] { parse_stored_floats("f8"); }, "\"f8\"");
}

}  // namespace
}  // namespace diffscm::io
