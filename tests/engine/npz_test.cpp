#include "engine/io/npz.h"

#include "tests/engine/io_testing.h"
#include "tests/engine/memory_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::from_hex;
using diffscm::testing::get;
using diffscm::testing::memory_taken;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

// Written by NumPy 2: np.savez(f, images=np.arange(6, dtype='u1').reshape(3, 2)).
constexpr std::string_view kSavez =
    "504b03042d0000000000000021001bfa7d61ffffffffffffffff0a001400696d616765732e6e7079010010008600"
    "0000000000008600000000000000934e554d5059010076007b276465736372273a20277c7531272c2027666f7274"
    "72616e5f6f72646572273a2046616c73652c20277368617065273a2028332c2032292c207d202020202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "2020200a000102030405504b01022d032d0000000000000021001bfa7d6186000000860000000a00000000000000"
    "00000000800100000000696d616765732e6e7079504b0506000000000100010038000000c20000000000";
// np.savez_compressed(f, a=np.arange(6, dtype='<f4').reshape(2, 3), b=np.array([7, 8], '<i8')).
constexpr std::string_view kCompressed =
    "504b03042d0000000800000021004fe9002affffffffffffffff05001400612e6e70790100100098000000000000"
    "0055000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f"
    "5f94920a12774bcc294e058a17672416a402f91a463a0ac69a3a0ab50a64032e063068b007120e4004c40d40bcc0"
    "0100504b03042d00000008000000210020894d2bffffffffffffffff05001400622e6e7079010010009000000000"
    "0000004a000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9369a1aea3a09e965f54529498"
    "179f5f94920a12774bcc294e058a17672416a402f91a463a9a3a0ab50a14002e760608e080d200504b01022d032d"
    "0000000800000021004fe9002a5500000098000000050000000000000000000000800100000000612e6e7079504b"
    "01022d032d00000008000000210020894d2b4a0000009000000005000000000000000000000080018c000000622e"
    "6e7079504b05060000000002000200660000000d0100000000";

std::string npy_of(const std::string& dictionary, const std::string& data, char version = 1) {
  std::string file("\x93NUMPY", 6);
  file +=
      {version, 0, static_cast<char>(dictionary.size()), static_cast<char>(dictionary.size() >> 8)};
  if (version > 1) file += {0, 0};
  return file + dictionary + data;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), std::string::npos);
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

void expect_consistent(const NpyArray& array) {
  EXPECT_EQ(static_cast<int64_t>(array.bytes.size()), numel(array.shape) * size_of(array.type));
  EXPECT_EQ(static_cast<int64_t>(array.to_floats().size()), numel(array.shape));
}

TEST(Npy, round_trip) {
  const TemporaryFolder folder;
  const std::vector<NpyArray> arrays = {
      NpyArray::from(std::vector<float>{1.5f, -2, 3, 4, 5, 6}, {3, 2}),
      NpyArray::from(std::vector<int64_t>{-5, int64_t{1} << 40}, {2}),
      NpyArray::from(std::vector<uint8_t>{255}, {}),
      NpyArray::from(std::vector<float>{}, {0, 3}),
      {{2}, NpyType::b8, {1, 0}},
      NpyArray::from(Tensor::from(std::vector<float>{7}, {1, 1, 1, 1})),
  };
  for (const NpyArray& array : arrays) {
    write_npy(folder / "a.npy", array);
    const NpyArray read = read_npy(folder / "a.npy");
    EXPECT_EQ(read.shape, array.shape);
    EXPECT_EQ(read.type, array.type);
    EXPECT_EQ(read.bytes, array.bytes);
    EXPECT_EQ((get(folder / "a.npy").size() - array.bytes.size()) % 64, 0u);  // NumPy's alignment
  }
  EXPECT_EQ(arrays[1].to_ints(), (std::vector<int64_t>{-5, int64_t{1} << 40}));
  EXPECT_EQ(arrays[2].to_floats(), std::vector<float>{255});
  expect_error([&] { arrays[0].to_ints(); }, "float32");
}

TEST(Npy, every_type_and_version_is_read) {
  const TemporaryFolder folder;
  const auto read = [&](const char* descr, const std::string& data, char version) {
    put(folder / "a",
        npy_of(fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': (1,), }}", descr),
               data, version));
    return read_npy(folder / "a").to_floats();
  };
  for (const char version : {1, 2, 3}) {
    EXPECT_EQ(read("<f4", std::string("\0\0\x80\xbf", 4), version), std::vector<float>{-1});
    EXPECT_EQ(read("<f8", std::string("\0\0\0\0\0\0\xf0\xbf", 8), version), std::vector<float>{-1});
    EXPECT_EQ(read("|u1", "\x80", version), std::vector<float>{128});
    EXPECT_EQ(read("|b1", "\x01", version), std::vector<float>{1});
    EXPECT_EQ(read_npy(folder / "a").type, NpyType::b8);
    EXPECT_EQ(read("<i4", "\xff\xff\xff\xff", version), std::vector<float>{-1});
    EXPECT_EQ(read("<i8", "\xff\xff\xff\xff\xff\xff\xff\xff", version), std::vector<float>{-1});
  }
}

TEST(Npy, header_is_parsed_strictly) {
  const TemporaryFolder folder;
  const auto header = [](const std::string& descr, const std::string& order,
                         const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  };
  struct Case {
    std::string dictionary, message;
  };
  const Case cases[] = {
      {"", "expected '{'"},
      {"{}", "lacks one of"},
      {"{'descr': '<f4', 'shape': (1,)}", "lacks one of"},
      {header("'<f4'", "False", "(1,)") + "x", "after the dictionary"},
      {header("'<f4'", "False", "(1,)") + "\n;import os", "after the dictionary"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "repeated key"},
      {"{'descr': '<f4', 'extra': 1, 'fortran_order': False, 'shape': (1,)}", "unknown"},
      {header("'|O'", "False", "(1,)"), "Python objects"},
      {header("'>f4'", "False", "(1,)"), "has type \">f4\""},
      {header("'<c8'", "False", "(1,)"), "has type \"<c8\""},
      {header("[('a', '<f4')]", "False", "(1,)"), "structured"},
      {header("__import__('os')", "False", "(1,)"), "not understood"},
      {header("'<f4", "False", "(1,)"), "has type \"<f4, \""},
      {"{'descr", "open string"},
      {header("'<f4'", "True", "(1, 1)"), "Fortran"},
      {header("'<f4'", "0", "(1,)"), "neither True nor False"},
      {header("'<f4'", "False", "(1)"), "not a tuple"},
      {header("'<f4'", "False", "1"), "expected '('"},
      {header("'<f4'", "False", "(-1,)"), "shape is not understood"},
      {header("'<f4'", "False", "(1.0,)"), "not a tuple"},
      {header("'<f4'", "False", "(1, 1.0)"), "expected ')'"},
      {header("'<f4'", "False", "(99999999999999999999,)"), "shape is not understood"},
      {header("'<f4'", "False", "(4294967296, 4294967296)"), "too large"},
      {header("'<f4'", "False", "(0, 4611686018427387904, 4)"), "too large"},
      {header("'<f4'", "False", "(2,)"), "needs 8 bytes"},
      {header("'<f4'", "False", "(0,)"), "needs 0 bytes"},
      {header("'<f4'", "False", "(1,"), "shape is not understood"},
      {header("'<f4'", "False", "(" + std::string(200, '1') + ",)"), "shape is not understood"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.dictionary);
    put(folder / "a", npy_of(test.dictionary, "1234"));
    expect_error([&] { read_npy(folder / "a"); }, test.message);
  }
  put(folder / "a", npy_of(header("'<f4'", "False", "(1,)"), "1234", 4));
  expect_error([&] { read_npy(folder / "a"); }, "version 4.0");
}

TEST(Npy, survives_damage) {
  const TemporaryFolder folder;
  write_npy(folder / "a", NpyArray::from(std::vector<float>{1, 2, 3, 4}, {2, 2}));
  const std::string bytes = get(folder / "a");
  const auto read = [&] { expect_consistent(read_npy(folder / "a")); };
  expect_truncations_refused(folder / "a", bytes, read);
  EXPECT_GT(expect_bit_flips_survived(folder / "a", bytes, read), 100);
  expect_strangers_refused(folder / "a", read);
}

TEST(Npz, round_trip_is_reproducible) {
  const TemporaryFolder folder;
  const NpyArrays arrays = {{"label", NpyArray::from(std::vector<int64_t>{1, 2, 3}, {3})},
                            {"image", NpyArray::from(std::vector<float>(12, 0.5f), {3, 2, 2})},
                            {"scalar", NpyArray::from(std::vector<float>{9}, {})}};
  write_npz(folder / "a.npz", arrays);
  const NpyArrays read = read_npz(folder / "a.npz");
  ASSERT_EQ(read.size(), 3u);
  for (const auto& [name, array] : arrays) {
    EXPECT_EQ(read.at(name).shape, array.shape);
    EXPECT_EQ(read.at(name).type, array.type);
    EXPECT_EQ(read.at(name).bytes, array.bytes);
  }
  write_npz(folder / "b.npz", read);
  EXPECT_EQ(get(folder / "a.npz"), get(folder / "b.npz"));
  write_npz(folder / "b.npz", {});
  EXPECT_TRUE(read_npz(folder / "b.npz").empty());
}

TEST(Npz, reads_what_numpy_writes) {
  const TemporaryFolder folder;
  put(folder / "a.npz", from_hex(kSavez));
  const NpyArray images = read_npz(folder / "a.npz").at("images");
  EXPECT_EQ(images.shape, (Shape{3, 2}));
  EXPECT_EQ(images.to_ints(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  put(folder / "a.npz", from_hex(kCompressed));
  const auto contents = npz_contents(folder / "a.npz");
  ASSERT_EQ(contents.size(), 2u);
  EXPECT_EQ(contents.at("a").shape, (Shape{2, 3}));
  EXPECT_EQ(contents.at("b").type, NpyType::i64);
  const NpyArrays both = read_npz(folder / "a.npz");
  EXPECT_EQ(both.at("a").to_floats(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(both.at("b").to_ints(), (std::vector<int64_t>{7, 8}));
}

TEST(Npz, one_array_is_read_without_the_others) {
  const TemporaryFolder folder;
  put(folder / "a.npz", replaced(from_hex(kCompressed), "b.npy", "b.txt"));
  EXPECT_EQ(npz_names(folder / "a.npz"), std::vector<std::string>{"a"});
  EXPECT_EQ(read_npz(folder / "a.npz", "a")->shape, (Shape{2, 3}));
  EXPECT_FALSE(read_npz(folder / "a.npz", "b").has_value());
  EXPECT_FALSE(read_npz(folder / "a.npz", "b.txt").has_value());
}

TEST(Npz, survives_damage) {
  const TemporaryFolder folder;
  for (const std::string_view hex : {kSavez, kCompressed}) {
    const std::string bytes = from_hex(hex);
    int wrong = 0;
    const auto original = [&] {
      put(folder / "o", bytes);
      return read_npz(folder / "o");
    }();
    const auto read = [&] {
      for (const auto& [name, array] : read_npz(folder / "a")) {
        expect_consistent(array);
        const auto same = original.find(name);
        wrong += same != original.end() && same->second.bytes != array.bytes;
      }
    };
    expect_truncations_refused(folder / "a", bytes, read);
    EXPECT_GT(expect_bit_flips_survived(folder / "a", bytes, read), 100);
    EXPECT_EQ(wrong, 0);  // the checksum of the archive
    expect_truncations_refused(folder / "a", bytes, [&] { npz_contents(folder / "a"); });
  }
  expect_strangers_refused(folder / "a", [&] { read_npz(folder / "a"); });
}

TEST(Npz, refuses_two_arrays_of_one_name) {
  const TemporaryFolder folder;
  put(folder / "a.npz", replaced(from_hex(kCompressed), "b.npy", "a.npy"));
  expect_error([&] { read_npz(folder / "a.npz"); }, "a.npz");
  expect_error([&] { npz_contents(folder / "a.npz"); }, "a.npz");
}

TEST(Npz, its_contents_are_looked_at_in_little_memory) {
  const TemporaryFolder folder;
  constexpr int64_t kLong = int64_t{32} << 20;
  write_npz(folder / "a.npz", {{"a", NpyArray::from(std::vector<uint8_t>(kLong), {kLong})}});
  std::map<std::string, NpyKind> contents;
  const auto taken = memory_taken([&] { contents = npz_contents(folder / "a.npz"); });
  EXPECT_EQ(contents.at("a").shape, Shape{kLong});
  EXPECT_LT(taken.value_or(0), 8);
}

TEST(Npz, refuses_what_is_not_an_array) {
  const TemporaryFolder folder;
  put(folder / "a.npz", replaced(from_hex(kCompressed), "b.npy", "b.txt"));
  expect_error([&] { read_npz(folder / "a.npz"); }, "\"b.txt\" is not an .npy array");
  const NpyArray array = NpyArray::from(std::vector<float>{1}, {1});
  write_npz(folder / "a.npz", {{"pickle", array}});
  put(folder / "a.npz", replaced(get(folder / "a.npz"), "'<f4'", "'|O' "));
  expect_error([&] { read_npz(folder / "a.npz"); }, "holds Python objects (a pickle)");
}

TEST(Npz, a_small_archive_cannot_ask_for_much_memory) {
  const TemporaryFolder folder;
  const std::string bytes = from_hex(kCompressed);
  // The uncompressed size of the first entry, in the central directory.
  const size_t entry = bytes.find("PK\x01\x02");
  ASSERT_NE(entry, std::string::npos);
  std::string claimed = bytes;
  claimed.replace(entry + 24, 4, "\xff\xff\xff\x7f");
  put(folder / "a.npz", claimed);
  expect_error([&] { read_npz(folder / "a.npz"); }, "a.npz");
}

TEST(Npz, what_is_not_wanted_is_refused_before_it_is_read) {
  const TemporaryFolder folder;
  constexpr int64_t kLong = int64_t{32} << 20;
  write_npz(folder / "a.npz", {{"a", NpyArray::from(std::vector<uint8_t>(kLong), {kLong})}});
  const auto accept = [](const NpyKind& kind) {
    require_fits(kind, sizeof(float), "a", 5 * kLong);  // just so
    require_fits(kind, sizeof(double), "a", 8 << 20);
  };
  const auto taken = memory_taken([&] {
    expect_error(
        [&] { read_npz(folder / "a.npz", "a", accept); },
        "a: shape [33554432] of uint8 takes 288 MiB to read, more than the 8 that there are");
  });
  EXPECT_LT(taken.value_or(0), 8);
  EXPECT_GE(machine_memory(), resident_bytes());
}

TEST(Npz, a_failed_save_leaves_the_old_file) {
  const TemporaryFolder folder;
  put(folder / "a.npz", "old");
  const NpyArray array = NpyArray::from(std::vector<float>{1}, {1});
  expect_error([&] { write_npz(folder / "a.npz", {{"\xff\xfe", array}}); }, "cannot add");
  EXPECT_EQ(get(folder / "a.npz"), "old");
  expect_error([&] { write_npz(folder / "absent/a.npz", {{"a", array}}); }, "absent");
  EXPECT_EQ(folder.files(), 1);
}

}  // namespace
}  // namespace diffscm::io
