#include "engine/io/torch_file.h"

#include <bit>
#include <limits>
#include <random>

#include "engine/io/zip_archive.h"
#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using namespace std::string_literals;
using Floats = std::vector<float>;

const std::string kGolden = DIFFSCM_GOLDEN;

std::vector<int64_t> ints_of(const Tensor& tensor) {
  return {tensor.data_i64(), tensor.data_i64() + tensor.numel()};
}

// Written by PyTorch (bench/peers/golden_torch_files.py).
class TorchGolden : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path() const { return kGolden + "/" + GetParam(); }
};

TEST_P(TorchGolden, holds_what_pytorch_put_there) {
  const TorchFile file(path());
  std::vector<std::string> dicts;
  for (const auto& [name, views] : file.state_dicts()) dicts.push_back(name);
  EXPECT_EQ(dicts, (std::vector<std::string>{"ema.model", "state_dict"}));
  const auto linear = file.read("ema.model");
  EXPECT_EQ(linear.at("weight").to_vector(), (Floats{0.5f, 0.5f}));
  EXPECT_EQ(linear.at("bias").to_vector(), (Floats{-0.5f}));

  const auto t = file.read("state_dict");
  EXPECT_EQ(t.size(), 13u);
  EXPECT_EQ(t.at("whole").shape(), (Shape{2, 3}));
  EXPECT_EQ(t.at("whole").to_vector(), (Floats{1, -2, 3.5f, 0, 1e-30f, 7}));
  EXPECT_EQ(t.at("transposed").shape(), (Shape{3, 2}));
  EXPECT_EQ(t.at("transposed").to_vector(), (Floats{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(t.at("middle").to_vector(), (Floats{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(t.at("every_other").to_vector(), (Floats{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}));
  EXPECT_EQ(t.at("scalar").shape(), Shape{});
  EXPECT_EQ(t.at("scalar").to_vector(), Floats{42});
  EXPECT_EQ(t.at("expanded").to_vector(), Floats(6, 5));
  EXPECT_EQ(t.at("empty").shape(), (Shape{0, 4}));
  EXPECT_EQ(t.at("double").to_vector(), (Floats{1.5f, -1e-3f}));
  EXPECT_EQ(t.at("half").to_vector(), (Floats{1, -2, 65504, 0x1p-24f}));
  EXPECT_EQ(t.at("brain").to_vector(), (Floats{1, -3.140625f}));
  EXPECT_EQ(ints_of(t.at("steps")), (std::vector<int64_t>{5, std::numeric_limits<int64_t>::min()}));
  EXPECT_EQ(ints_of(t.at("mask")), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(t.at("parameter").to_vector(), Floats{0.25f});
  expect_error([&] { file.read("optimizer"); }, "\"optimizer\"");
}

void read_all(const std::filesystem::path& path) {
  const TorchFile file(path);
  for (const auto& [name, views] : file.state_dicts())
    for (const auto& [tensor, value] : file.read(name))
      EXPECT_EQ(value.numel(), numel(views.at(tensor).shape));
}

TEST_P(TorchGolden, survives_damage) {
  const TemporaryFolder folder;
  const std::string bytes = get(path());
  const auto read = [&] { read_all(folder / "m.pt"); };
  expect_truncations_refused(folder / "m.pt", bytes, read, bytes.size());
  std::mt19937 random(1);
  int noticed = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    char& byte = damaged[random() % bytes.size()];
    byte = static_cast<char>(byte ^ 1 << random() % 8);
    put(folder / "m.pt", damaged);
    try {
      read();
    } catch (const Error& error) {
      ++noticed;
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(noticed, 500);
  expect_strangers_refused(folder / "m.pt", read);
}

INSTANTIATE_TEST_SUITE_P(, TorchGolden, ::testing::Values("torch_zip.pt", "torch_stream.pt"),
                         [](const auto& test) {
                           const std::string name = test.param;
                           return name.substr(0, name.find('.'));
                         });

TEST(TorchFile, round_trip) {
  const TemporaryFolder folder;
  std::map<std::string, Tensor> written;
  written["out.weight"] = Tensor::from(Floats{1, -2, 3.5f, 0, 1e-30f, 7}, {2, 3});
  written["scalar"] = Tensor::from(Floats{42}, {});
  written["empty"] = Tensor::from(Floats{}, {0, 4});
  written["steps"] = Tensor::from(std::vector<int64_t>{5, -1}, {2});
  write_torch_file(folder / "m.pt", written);
  const auto read = TorchFile(folder / "m.pt").read("");
  ASSERT_EQ(read.size(), written.size());
  for (const auto& [name, tensor] : written) {
    ASSERT_EQ(read.at(name).shape(), tensor.shape()) << name;
    if (tensor.dtype() == Dtype::f32)
      EXPECT_EQ(read.at(name).to_vector(), tensor.to_vector()) << name;
    else
      EXPECT_EQ(ints_of(read.at(name)), ints_of(tensor)) << name;
  }
  write_torch_file(folder / "n.pt", written);
  EXPECT_EQ(get(folder / "m.pt"), get(folder / "n.pt"));
  write_torch_file(folder / "none.pt", {});
  EXPECT_TRUE(TorchFile(folder / "none.pt").state_dicts().empty());
  expect_error([&] { write_torch_file(folder / "m.pt", {{"\xff", written["scalar"]}}); }, "UTF-8");
}

// The structure of a file with one tensor "a", which the rest describes in the words of pickle.
std::string text(const std::string& value) {
  return "X" + std::string(1, static_cast<char>(value.size())) + "\0\0\0"s + value;
}
std::string view_of(const std::string& view) {
  return "\x80\x02}" + text("a") + "ctorch._utils\n_rebuild_tensor_v2\n(" + view + "tRs.";
}
std::string storage_of(const std::string& numel, const std::string& type = "Float") {
  return "(" + text("storage") + "ctorch\n" + type + "Storage\n" + text("0") + text("cpu") + numel +
         "tQ";
}

void put_zip(const std::filesystem::path& path, const std::string& structure,
             const std::string& data, const std::string& order = "little") {
  const auto bytes = [](const std::string& text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const std::vector<ZipEntry> entries{{"m/data.pkl", {bytes(structure)}},
                                      {"m/byteorder", {bytes(order)}},
                                      {"m/data/0", {bytes(data)}}};
  write_zip(path, entries);
}

TEST(TorchFile, views_stay_in_their_storage) {
  const TemporaryFolder folder;
  const std::string four(16, '\0'), storage = storage_of("K\x04");
  const std::string no_more = "\x89N";
  const auto attempt = [&](const std::string& view) {
    put_zip(folder / "m.pt", view_of(view + no_more), four);
    return TorchFile(folder / "m.pt").read("").at("a").shape();
  };
  EXPECT_EQ(attempt(storage + "K\x01K\x03\x85K\x01\x85"), Shape{3});
  EXPECT_EQ(attempt(storage + "K\x00K\x02K\x02\x86K\x02K\x01\x86"s), (Shape{2, 2}));
  const std::string huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
  // A stride that no step takes says nothing, whatever it is.
  EXPECT_EQ(attempt(storage + "K\x01K\x01K\x03\x86" + huge + "K\x01\x86"), (Shape{1, 3}));
  for (const std::string& view :
       {"K\x02K\x03\x85K\x01\x85"s, "K\x00K\x02\x85K\x04\x85"s, "K\x04))"s,
        huge + "K\x02\x85K\x01\x85", "K\x00"s + huge + "\x85" + huge + "\x85",
        "K\x01K\x03\x85" + huge + "\x85"})
    expect_error([&] { attempt(storage + view); }, "reaches beyond its storage");
  expect_error([&] { attempt(storage + "K\x01K\x03\x85K\x01K\x01\x86"); }, "1 sizes and 2 strides");
  expect_error([&] { attempt(storage + "J\xff\xff\xff\xff))"); }, "not described");
  expect_error([&] { attempt(storage + "K\x01J\xff\xff\xff\xff\x85K\x01\x85"); }, "whole number");
  expect_error([&] { attempt("K\x01K\x01))"); }, "not described");
}

TEST(TorchFile, sizes_and_types_are_those_of_the_records) {
  const TemporaryFolder folder;
  const auto attempt = [&](const std::string& storage, size_t bytes, const std::string& order) {
    put_zip(folder / "m.pt", view_of(storage + "K\x00K\x01\x85K\x01\x85\x89N"s),
            std::string(bytes, '\0'), order);
    read_all(folder / "m.pt");
  };
  attempt(storage_of("K\x04"), 16, "little");
  expect_error([&] { attempt(storage_of("K\x04"), 17, "little"); }, "needs 16 bytes");
  expect_error([&] { attempt(storage_of("K\x04"), 15, "little"); }, "needs 16 bytes");
  expect_error([&] { attempt(storage_of("K\x04", "Double"), 16, "little"); }, "needs 32 bytes");
  expect_error([&] { attempt(storage_of("K\x04"), 16, "big"); }, "little-endian");
  expect_error([&] { attempt(storage_of("K\x04"), 16, "bigger"); }, "little-endian");
  expect_error([&] { attempt(storage_of("K\x04", "ComplexFloat"), 16, "little"); },
               "torch.ComplexFloatStorage");
  expect_error(
      [&] { attempt(storage_of("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), 16, "little"); },
      "elements");
}

// One number, expanded: PyTorch's files may say so, and a hostile one does in a few bytes.
TEST(TorchFile, a_small_file_cannot_ask_for_much_memory) {
  const TemporaryFolder folder;
  const std::string four(16, '\0'), storage = storage_of("K\x04");
  const auto expanded = [&](const std::string& sizes, const std::string& strides) {
    put_zip(folder / "m.pt", view_of(storage + "K\x00"s + sizes + strides + "\x89N"), four);
    read_all(folder / "m.pt");
  };
  expanded("J\x00\x00\x00\x01\x85"s, "K\x00\x85"s);  // 2^24 elements, 64 MB
  expect_error([&] { expanded("J\x00\x00\x00\x02\x85"s, "K\x00\x85"s); }, "far more bytes");
  expect_error([&] { expanded("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x20\x85"s, "K\x00\x85"s); },
               "too large");
}

TEST(TorchFile, refuses_to_run_anything_by_name) {
  const TemporaryFolder folder;
  put_zip(folder / "m.pt",
          "\x80\x02"
          "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."s,
          "");
  expect_error([&] { TorchFile(folder / "m.pt"); }, "\"os.system\"");
  put(folder / "m.pt",
      "\x80\x02"
      "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."s);
  expect_error([&] { TorchFile(folder / "m.pt"); }, "\"os.system\"");
  put_zip(folder / "m.pt",
          "\x80\x02"
          "ctorch.nn.modules.linear\nLinear\n)\x81."s,
          "");
  expect_error([&] { TorchFile(folder / "m.pt"); }, "torch.save(model.state_dict(), FILE)");
}

TEST(TorchFile, refuses_other_archives_and_pickles) {
  const TemporaryFolder folder;
  const std::string text = "hello";
  const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  write_zip(folder / "m.pt", std::vector<ZipEntry>{{"m/hello.txt", {bytes}}});
  expect_error([&] { TorchFile(folder / "m.pt"); }, "no record NAME/data.pkl");
  put(folder / "m.pt", "\x80\x02K\x01.");
  expect_error([&] { TorchFile(folder / "m.pt"); }, "pickle of something else");
  const std::string stream = get(kGolden + "/torch_stream.pt");
  put(folder / "m.pt", stream + "x");
  expect_error([&] { TorchFile(folder / "m.pt"); }, "1 bytes follow its last storage");
}

}  // namespace
}  // namespace diffscm::io
