#include "engine/io/safetensors.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

std::string file_of(const std::string& header, const std::string& data = {}) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

std::vector<int64_t> ints_of(const Tensor& tensor) {
  return {tensor.data_i64(), tensor.data_i64() + tensor.numel()};
}

Safetensors example() {
  Safetensors file;
  file.tensors["out.weight"] = Tensor::from(std::vector<float>{1, -2, 3.5f, 0, 1e-30f, 7}, {2, 3});
  file.tensors["a.scalar"] = Tensor::from(std::vector<float>{42}, {});
  file.tensors["labels"] =
      Tensor::from(std::vector<int64_t>{5, std::numeric_limits<int64_t>::min()}, {2});
  file.tensors["empty"] = Tensor::from(std::vector<float>{}, {0, 4});
  file.metadata = {{"format", "diffscm"}, {"config", "{\"a\": \"quote \\\" and \xc3\xa9\"}"}};
  return file;
}

TEST(Safetensors, round_trip) {
  const TemporaryFolder folder;
  const Safetensors written = example();
  write_safetensors(folder / "m", written);
  const Safetensors read = read_safetensors(folder / "m");
  EXPECT_EQ(read.metadata, written.metadata);
  ASSERT_EQ(read.tensors.size(), written.tensors.size());
  for (const auto& [name, tensor] : written.tensors) {
    SCOPED_TRACE(name);
    const Tensor& other = read.tensors.at(name);
    EXPECT_EQ(other.shape(), tensor.shape());
    ASSERT_EQ(other.dtype(), tensor.dtype());
    if (tensor.dtype() == Dtype::f32) {
      EXPECT_EQ(other.to_vector(), tensor.to_vector());
    } else {
      EXPECT_EQ(ints_of(other), ints_of(tensor));
    }
  }
}

TEST(Safetensors, layout_is_the_published_one) {
  const TemporaryFolder folder;
  write_safetensors(folder / "m", {{{"b", Tensor::from(std::vector<float>{2}, {1})},
                                    {"a", Tensor::from(std::vector<float>{1}, {1})}},
                                   {}});
  const std::string bytes = get(folder / "m");
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(bytes, file_of(header, std::string("\0\0\x80\x3f\0\0\0\x40", 8)));
  write_safetensors(folder / "n", read_safetensors(folder / "m"));
  EXPECT_EQ(get(folder / "n"), bytes);
}

TEST(Safetensors, no_tensors) {
  const TemporaryFolder folder;
  write_safetensors(folder / "m", {});
  EXPECT_TRUE(read_safetensors(folder / "m").tensors.empty());
}

TEST(Safetensors, other_float_types_become_f32) {
  const TemporaryFolder folder;
  const double doubles[] = {1.5, -1e-3};
  // Half: 1, -2, the largest, the smallest subnormal, -0, infinity, NaN.
  const uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00, 0x7e00};
  const uint16_t brains[] = {0x3f80, 0xc049};  // 1, -3.140625
  std::string data(reinterpret_cast<const char*>(doubles), sizeof doubles);
  data.append(reinterpret_cast<const char*>(halves), sizeof halves);
  data.append(reinterpret_cast<const char*>(brains), sizeof brains);
  put(folder / "m", file_of(R"({"d":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},
      "h":{"dtype":"F16","shape":[7],"data_offsets":[16,30]},
      "b":{"dtype":"BF16","shape":[2],"data_offsets":[30,34]}})",
                            data));
  const Safetensors read = read_safetensors(folder / "m");
  EXPECT_EQ(read.tensors.at("d").to_vector(), (std::vector<float>{1.5f, -1e-3f}));
  EXPECT_EQ(read.tensors.at("b").to_vector(), (std::vector<float>{1.0f, -3.140625f}));
  const std::vector<float> h = read.tensors.at("h").to_vector();
  ASSERT_EQ(h.size(), 7u);
  EXPECT_EQ(h[0], 1.0f);
  EXPECT_EQ(h[1], -2.0f);
  EXPECT_EQ(h[2], 65504.0f);
  EXPECT_EQ(h[3], 0x1p-24f);
  EXPECT_TRUE(h[4] == 0 && std::signbit(h[4]));
  EXPECT_TRUE(std::isinf(h[5]));
  EXPECT_TRUE(std::isnan(h[6]));
}

TEST(Safetensors, refuses_what_the_format_forbids) {
  const TemporaryFolder folder;
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  struct Case {
    std::string header, message;
    size_t data = 4;
  };
  const Case cases[] = {
      {"", "does not begin with {"},
      {"[1]", "does not begin with {"},
      {" {}", "does not begin with {"},
      {"{\"a\":", "not JSON"},
      {"{\"a\":" + entry + "} x", "not JSON"},
      {"{\"\xff\":" + entry + "}", "not JSON"},
      {"{\"a\":" + entry + ",\"a\":" + entry + "}", "appears twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "appears twice"},
      {R"({"__metadata__":{"k":"1","k":"2"},"a":)" + entry + "}", "appears twice"},
      {R"({"__metadata__":{"k":{"l":"2"}},"a":)" + entry + "}", "nests objects"},
      {R"({"__metadata__":{"k":1},"a":)" + entry + "}", "is not a string"},
      {R"({"__metadata__":"k","a":)" + entry + "}", "is not an object"},
      {R"({"a":3})", "must have exactly"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", "must have exactly"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", "must have exactly"},
      {R"({"a":{"dtype":"F8","shape":[4],"data_offsets":[0,4]}})", "has dtype \"F8\""},
      {R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", "is not a string"},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", "not a list"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", "nests arrays"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "where a size"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", "where a size"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", "where a size"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})",
       "where a size"},
      {R"({"a":{"dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,4]}})",
       "where a size"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})",
       "overflows"},
      {R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})",
       "overflows"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", "at most 8"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "needs 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "needs 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "not [begin, end]"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1e400]}})", "number"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "belong to no tensor"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "cut short"},
      {"{\"a\":" + entry + ",\"b\":" + entry + "}", "overlap"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "overlap", 8},
      {"{\"a\":" + entry + "}", "4 bytes follow", 8},
      {"{}", "4 bytes follow"},
      {std::string(100000, '['), "does not begin"},
      {"{\"a\":" + std::string(100000, '['), "nests arrays"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.header.substr(0, 200));
    put(folder / "m", file_of(test.header, std::string(test.data, 'x')));
    expect_error([&] { read_safetensors(folder / "m"); }, test.message);
  }
}

TEST(Safetensors, refuses_impossible_header_lengths) {
  const TemporaryFolder folder;
  std::string bytes = file_of("{}");
  for (const uint64_t claimed :
       {uint64_t{3}, uint64_t{1000}, uint64_t{99'999'999}, uint64_t{100'000'001}, uint64_t{1} << 62,
        ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::copy_n(reinterpret_cast<const char*>(&claimed), 8, bytes.begin());
    put(folder / "m", bytes);
    expect_error([&] { read_safetensors(folder / "m"); }, "header claims");
  }
}

TEST(Safetensors, survives_damage) {
  const TemporaryFolder folder;
  write_safetensors(folder / "m", example());
  const std::string bytes = get(folder / "m");
  const auto read = [&] {
    for (const auto& [name, tensor] : read_safetensors(folder / "m").tensors) {
      if (tensor.dtype() != Dtype::f32) continue;
      EXPECT_EQ(static_cast<int64_t>(tensor.to_vector().size()), numel(tensor.shape()));
    }
  };
  expect_truncations_refused(folder / "m", bytes, read, 1000);
  EXPECT_GT(expect_bit_flips_survived(folder / "m", bytes, read, 4000), 100);
  put(folder / "m", bytes + "x");
  expect_error(read, "1 bytes follow");
  expect_strangers_refused(folder / "m", read);
}

TEST(Safetensors, a_failed_save_leaves_the_old_file) {
  const TemporaryFolder folder;
  put(folder / "m", "old");
  const Tensor one = Tensor::from(std::vector<float>{1}, {1});
  expect_error([&] { write_safetensors(folder / "m", {{{"\xff", one}}, {}}); }, "UTF-8");
  expect_error([&] { write_safetensors(folder / "m", {{{"__metadata__", one}}, {}}); }, "reserved");
  expect_error([&] { write_safetensors(folder / "m", {{{"a", Tensor()}}, {}}); }, "\"a\"");
  EXPECT_EQ(get(folder / "m"), "old");
  EXPECT_EQ(folder.files(), 1);
}

}  // namespace
}  // namespace diffscm::io
