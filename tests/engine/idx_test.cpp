#include "engine/io/idx.h"

#include <zlib.h>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_bit_flips_survived;
using diffscm::testing::expect_error;
using diffscm::testing::expect_strangers_refused;
using diffscm::testing::expect_truncations_refused;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;

std::string idx_of(const std::vector<uint32_t>& sizes, const std::string& values) {
  std::string file = {0, 0, 8, static_cast<char>(sizes.size())};
  for (const uint32_t size : sizes)
    for (const int shift : {24, 16, 8, 0}) file += static_cast<char>(size >> shift);
  return file + values;
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string noise(size_t size) {
  std::string out;
  for (uint32_t state = 1; out.size() < size; state = state * 1664525 + 1013904223)
    out += static_cast<char>(state >> 24);
  return out;
}

TEST(Idx, plain_and_gzip_are_told_apart_by_content) {
  const TemporaryFolder folder;
  const std::string values = noise(2 * 3 * 4);
  const std::string file = idx_of({2, 3, 4}, values);
  for (const std::string& bytes : {file, gzip(file)})
    for (const char* name : {"a", "a.gz"}) {
      put(folder / name, bytes);
      const IdxArray array = read_idx(folder / name);
      EXPECT_EQ(array.shape, (Shape{2, 3, 4}));
      EXPECT_EQ(std::string(array.values.begin(), array.values.end()), values);
    }
}

TEST(Idx, gzip_members_are_one_stream) {
  const TemporaryFolder folder;
  const std::string values = noise(24), file = idx_of({2, 3, 4}, values);
  const auto read = [&] {
    const IdxArray array = read_idx(folder / "a");
    EXPECT_EQ(std::string(array.values.begin(), array.values.end()), values);
  };
  for (const size_t cut : {size_t{0}, size_t{3}, size_t{16}, size_t{20}, file.size()}) {
    put(folder / "a", gzip(file.substr(0, cut)) + gzip(file.substr(cut)) + gzip(""));
    read();
  }
  std::string bytes;  // as bgzip and parallel compressors write it
  for (const char c : file) bytes += gzip(std::string(1, c));
  put(folder / "a", bytes);
  read();
  expect_truncations_refused(folder / "a", bytes, read, 1000);
}

TEST(Idx, no_values) {
  const TemporaryFolder folder;
  put(folder / "a", idx_of({0, 28, 28}, ""));
  EXPECT_TRUE(read_idx(folder / "a").values.empty());
}

TEST(Idx, survives_damage) {
  const TemporaryFolder folder;
  const std::string file = idx_of({5, 4, 3}, noise(60));
  for (const std::string& bytes : {file, gzip(file)}) {
    const auto read = [&] {
      const IdxArray array = read_idx(folder / "a");
      EXPECT_EQ(static_cast<int64_t>(array.values.size()), numel(array.shape));
    };
    expect_truncations_refused(folder / "a", bytes, read, 1000);
    EXPECT_GT(expect_bit_flips_survived(folder / "a", bytes, read), 30);
    put(folder / "a", bytes + "x");
    expect_error(read, "\"");
    expect_strangers_refused(folder / "a", read);
  }
}

TEST(Idx, a_damaged_gzip_never_gives_wrong_values) {
  const TemporaryFolder folder;
  const std::string values = noise(400), bytes = gzip(idx_of({400}, values));
  int wrong = 0;
  expect_bit_flips_survived(folder / "a", bytes, [&] {
    const IdxArray array = read_idx(folder / "a");
    wrong += std::string(array.values.begin(), array.values.end()) != values;
  });
  EXPECT_EQ(wrong, 0);  // the checksum sees every single bit
}

TEST(Idx, refuses_wrong_sizes) {
  const TemporaryFolder folder;
  const auto read = [&] { read_idx(folder / "a"); };
  put(folder / "a", idx_of({2, 2}, "12345"));
  expect_error(read, "longer than");
  put(folder / "a", gzip(idx_of({2, 2}, "12345")));
  expect_error(read, "longer than");
  put(folder / "a", gzip(idx_of({2}, "12")) + gzip("34"));
  expect_error(read, "longer than");
  put(folder / "a", gzip(idx_of({2}, "12")) + "34");
  expect_error(read, "after its gzip stream");
  put(folder / "a", idx_of({2, 3}, "12345"));
  expect_error(read, "cut short");
  put(folder / "a", idx_of({0xffffffff, 0xffffffff, 0xffffffff}, "12345"));
  expect_error(read, "declares more than");
  put(folder / "a", idx_of({0xffffffff}, "12345"));
  expect_error(read, "needs 4294967295 bytes");
  put(folder / "a", gzip(idx_of({0xffffffff}, "12345")));  // refused before 4 GB are allocated
  expect_error(read, "needs 4294967295 bytes");
  put(folder / "a", idx_of({1, 1, 1, 1, 1}, "1"));
  expect_error(read, "00000805");
  put(folder / "a", std::string("\0\0\x0d\x01\0\0\0\x01\0\0\0\0", 12));  // floats
  expect_error(read, "00000d01");
}

TEST(Idx, what_is_written_is_read) {
  const TemporaryFolder folder;
  const std::string values = noise(300 * 500);
  for (const Shape& shape : {Shape{300, 500}, Shape{300 * 500}, Shape{3, 100, 500}}) {
    const IdxArray array{shape, {values.begin(), values.end()}};
    write_idx(folder / "a", array);
    EXPECT_EQ(read_idx(folder / "a").shape, shape);
    EXPECT_EQ(read_idx(folder / "a").values, array.values);
  }
  write_idx(folder / "a", {{0}, {}});
  EXPECT_TRUE(read_idx(folder / "a").values.empty());
  EXPECT_EQ(folder.files(), 1);
  expect_error([&] { write_idx(folder / "a", {{3}, {1, 2}}); }, "2 values of shape");
}

TEST(Idx, a_bomb_is_inflated_no_further_than_it_declares) {
  const TemporaryFolder folder;
  put(folder / "a", gzip(idx_of({10}, std::string(50'000'000, '\0'))));
  expect_error([&] { read_idx(folder / "a"); }, "longer than");
}

}  // namespace
}  // namespace diffscm::io
