#include "engine/io/pickle.h"

#include <array>

#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;
using Kind = Pickle::Kind;
using namespace std::string_literals;

constexpr std::array<std::string_view, 1> kGlobals{"torch.FloatStorage"};

Pickle read(const std::string& body) {
  const std::string text = "\x80\x02" + body;
  return {std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), kGlobals, "it"};
}

void expect_refused(const std::string& body, const std::string& part) {
  SCOPED_TRACE(::testing::PrintToString(body.substr(0, 100)));
  expect_error([&] { read(body); }, part);
}

TEST(Pickle, numbers_and_texts) {
  EXPECT_EQ(read("K\xff.").root().integer, 255);
  EXPECT_EQ(read("M\x01\x02.").root().integer, 513);
  EXPECT_EQ(read("J\xff\xff\xff\xff.").root().integer, -1);
  EXPECT_EQ(read("\x8a\x00."s).root().integer, 0);
  EXPECT_EQ(read("\x8a\x01\x80.").root().integer, -128);
  EXPECT_EQ(read("\x8a\x06\x00\x00\x00\x00\x00\x01."s).root().integer, int64_t{1} << 40);
  EXPECT_EQ(read("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."s).root().integer, INT64_MIN);
  EXPECT_EQ(read("\x8a\x0a" + std::string(10, '\x19') + ".").root().kind, Kind::big);
  EXPECT_EQ(read("G\x3f\xf8\x00\x00\x00\x00\x00\x00."s).root().real, 1.5);
  EXPECT_EQ(read("X\x03\x00\x00\x00\x61\x62\x63."s).root().text, "abc");
  EXPECT_EQ(read("\x8c\x01z.").root().text, "z");
  EXPECT_EQ(read("\x88.").root().integer, 1);
  EXPECT_EQ(read("N.").root().kind, Kind::none);
}

TEST(Pickle, containers) {
  const Pickle dict = read("}(K\x01K\x02K\x03)u.");
  ASSERT_EQ(dict.root().kind, Kind::dict);
  ASSERT_EQ(dict.root().items.size(), 4u);
  EXPECT_EQ(dict.at(dict.root().items[2]).integer, 3);
  EXPECT_EQ(dict.at(dict.root().items[3]).kind, Kind::tuple);
  EXPECT_EQ(read("ccollections\nOrderedDict\n)R.").root().kind, Kind::dict);
  EXPECT_EQ(read("ccollections\nOrderedDict\n)R}b.").root().kind, Kind::dict);  // attributes
  EXPECT_EQ(read("(K\x01K\x02K\x03t.").root().items.size(), 3u);
  EXPECT_EQ(read("K\x01K\x02\x86.").root().items.size(), 2u);
  EXPECT_EQ(read("](K\x01K\x02"
                 "e.")
                .root()
                .items.size(),
            2u);
  // A value that is referred to is one value: here a list that holds itself.
  const Pickle cycle = read(
      "]q\x05h\x05"
      "a.");
  EXPECT_EQ(&cycle.at(cycle.root().items[0]), &cycle.root());
}

TEST(Pickle, a_call_is_a_value) {
  const Pickle call = read("ctorch\nFloatStorage\nK\x01\x85R.");
  ASSERT_EQ(call.root().kind, Kind::call);
  EXPECT_EQ(call.at(call.root().items[0]).text, "torch.FloatStorage");
  EXPECT_EQ(read("K\x01Q.").root().kind, Kind::persistent);
}

TEST(Pickle, takes_one_of_several) {
  EXPECT_EQ(read("K\x01.\x80\x02K\x02.").size(), 5u);
}

TEST(Pickle, runs_nothing) {
  expect_refused("cos\nsystem\nX\x02\x00\x00\x00ls\x85R."s, "\"os.system\"");
  expect_refused("cposix\nsystem\n.", "\"posix.system\"");
  expect_refused("c__builtin__\neval\n.", "\"__builtin__.eval\"");
  expect_refused("\x8c\x02os\x8c\x06system\x93.", "\"os.system\"");
  expect_refused("(S'x'\nios\nsystem\n.", "opcode 0x53");
  expect_refused("ctorch\nFloatStorage\n)\x81.", "opcode 0x81");  // NEWOBJ
  expect_refused("ctorch\nFloatStorage\n)R}b.", "sets attributes");
  expect_refused("K\x01)R.", "no function");
  expect_refused("ctorch\nFloatStorage\nK\x01R.", "no function");
  expect_refused("ccollections\nOrderedDict\n]\x85R.", "OrderedDict of something");
}

TEST(Pickle, refuses_what_is_malformed) {
  for (const char* body : {".", "\x85.", "t.", "Q.", "a.", "s.", "R.",
                           "K\x01"
                           "a.",
                           "(K\x01.", "K\x01K\x02.", "(.", "q\x01."})
    expect_error([&] { read(body); }, "it cannot be read");
  expect_refused("h\x01.", "recalls");
  expect_refused("K\x01r\xff\xff\xff\xff.", "memo");
  expect_refused("](K\x01K\x02u.", "no list or dictionary");
  expect_refused("}(K\x01u.", "no list or dictionary");
  expect_refused(
      "X\xff\xff\xff\xff"
      "abc",
      "cut short");
  expect_refused("K", "cut short");
  expect_refused("", "cut short");
  expect_refused("ctorch", "cut short");
  expect_error([] { Pickle({}, kGlobals, "it"); }, "does not begin");
}

// One-byte opcodes that each make a value; nests as deep as it is long.
TEST(Pickle, is_bounded) {
  expect_refused(std::string(1'000'000, ']'), "more than 400000 opcodes");
  EXPECT_EQ(read(")" + std::string(300'000, '\x85') + ".").root().items.size(), 1u);
}

}  // namespace
}  // namespace diffscm::io
