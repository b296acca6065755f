#include "engine/io/pickle.h"

#include <algorithm>
#include <bit>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

// Each opcode makes one value at most. A checkpoint of 1,500 weights with two moments and an
// average takes 300,000.
constexpr size_t kMostOpcodes = 400'000;
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

// Named as pickletools.py does.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinfloat = 'G',
  kBinint = 'J',
  kBinint1 = 'K',
  kBinint2 = 'M',
  kNone = 'N',
  kBinpersid = 'Q',
  kReduce = 'R',
  kBinstring = 'T',
  kShortBinstring = 'U',
  kBinunicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinget = 'h',
  kLongBinget = 'j',
  kBinput = 'q',
  kLongBinput = 'r',
  kSetitem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetitems = 'u',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewtrue = 0x88,
  kNewfalse = 0x89,
  kLong1 = 0x8a,
  kShortBinunicode = 0x8c,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

}  // namespace

Pickle::Pickle(std::span<const uint8_t> bytes, std::span<const std::string_view> globals,
               std::string where)
    : bytes_(bytes), globals_(globals), where_(std::move(where)) {
  if (bytes.size() < 2 || bytes[0] != kProto || bytes[1] < 2 || bytes[1] > 5)
    refuse("it does not begin as a pickle of protocol 2 to 5");
  for (size_t count = 0; !done_; ++count) {
    if (count == kMostOpcodes) refuse(fmt::format("it has more than {} opcodes", kMostOpcodes));
    step(take(1)[0]);
  }
}

void Pickle::step(uint8_t opcode) {
  switch (opcode) {
    case kProto:
      number(1);
      return;
    case kFrame:  // how much to read ahead
      number(8);
      return;
    case kStop:
      root_ = pop();
      if (!stack_.empty() || !marks_.empty()) refuse("it ends with values left over");
      done_ = true;
      return;
    case kMark:
      marks_.push_back(stack_.size());
      return;

    case kNone:
      return push({});
    case kNewtrue:
    case kNewfalse:
      return push({Kind::boolean, opcode == kNewtrue});
    case kBinint1:
      return push({Kind::integer, static_cast<int64_t>(number(1))});
    case kBinint2:
      return push({Kind::integer, static_cast<int64_t>(number(2))});
    case kBinint:
      return push({Kind::integer, static_cast<int32_t>(number(4))});
    case kLong1:
      return push_long(number(1));
    case kBinfloat: {
      const auto big_endian = number(8);
      return push({Kind::real, 0, std::bit_cast<double>(__builtin_bswap64(big_endian))});
    }
    case kBinunicode:
    case kBinstring:
      return push_text(number(4));
    case kShortBinunicode:
    case kShortBinstring:
      return push_text(number(1));

    case kEmptyTuple:
      return push({Kind::tuple});
    case kEmptyList:
      return push({Kind::list});
    case kEmptyDict:
      return push({Kind::dict});
    case kTuple:
      return push_items(Kind::tuple, pop_mark());
    case kTuple1:
    case kTuple2:
    case kTuple3: {
      const size_t count = opcode - kTuple1 + size_t{1};
      if (stack_.size() < count) refuse("it takes from an empty stack");
      return push_items(Kind::tuple, stack_.size() - count);
    }
    case kAppend:
      return append(stack_.empty() ? 0 : stack_.size() - 1, Kind::list);
    case kAppends:
      return append(pop_mark(), Kind::list);
    case kSetitem:
      return append(stack_.size() < 2 ? 0 : stack_.size() - 2, Kind::dict);
    case kSetitems:
      return append(pop_mark(), Kind::dict);

    case kBinput:
      return remember(number(1));
    case kLongBinput:
      return remember(number(4));
    case kMemoize:
      return remember(memo_.size());
    case kBinget:
      return recall(number(1));
    case kLongBinget:
      return recall(number(4));

    case kGlobal: {
      const std::string module = line();
      return global(module + "." + line());
    }
    case kStackGlobal: {
      const std::string name = at(pop()).text;
      return global(at(pop()).text + "." + name);
    }
    case kReduce:
      return reduce();
    case kBuild:
      return build();
    case kBinpersid:
      if (stack_.empty()) refuse("it takes from an empty stack");
      return push_items(Kind::persistent, stack_.size() - 1);
    default:
      refuse(fmt::format("opcode 0x{:02x} at byte {} is none that weights need", opcode,
                         position_ - 1));
  }
}

void Pickle::global(const std::string& name) {
  if (name != kOrderedDict && std::ranges::find(globals_, name) == globals_.end())
    refuse(
        fmt::format("it asks Python for {}, and diffscm runs nothing that a file names; save the "
                    "weights alone: torch.save(model.state_dict(), FILE)",
                    show(name)));
  push({Kind::global, 0, 0, name});
}

void Pickle::reduce() {
  const uint32_t arguments = pop(), function = pop();
  if (at(function).kind != Kind::global || at(arguments).kind != Kind::tuple)
    refuse("it calls something that is no function");
  if (at(function).text != kOrderedDict) return push({Kind::call, 0, 0, {}, {function, arguments}});
  if (!at(arguments).items.empty()) refuse("it makes an OrderedDict of something");
  push({Kind::dict});
}

// Attributes of a dictionary (a state_dict's _metadata) are of no interest.
void Pickle::build() {
  pop();
  if (stack_.empty() || at(stack_.back()).kind != Kind::dict)
    refuse("it sets attributes of something that is no dictionary");
}

// Moves what lies on the stack from `begin` into the container before it.
void Pickle::append(size_t begin, Kind kind) {
  if (begin == 0 || begin > stack_.size()) refuse("it takes from an empty stack");
  Value& container = values_[stack_[begin - 1]];
  if (container.kind != kind || (kind == Kind::dict && (stack_.size() - begin) % 2 != 0))
    refuse("it adds to something that is no list or dictionary");
  container.items.insert(container.items.end(), stack_.begin() + static_cast<std::ptrdiff_t>(begin),
                         stack_.end());
  stack_.resize(begin);
}

void Pickle::remember(uint64_t key) {
  if (stack_.empty()) refuse("it takes from an empty stack");
  if (key >= kMostOpcodes) refuse("its memo is larger than the pickle");
  if (key >= memo_.size()) memo_.resize(key + 1);
  memo_[key] = stack_.back() + 1;
}

void Pickle::recall(uint64_t key) {
  if (key >= memo_.size() || memo_[key] == 0) refuse("it recalls what it never kept");
  stack_.push_back(memo_[key] - 1);
}

void Pickle::refuse(const std::string& why) const {
  fail("{} cannot be read: {}", where_, why);
}

std::span<const uint8_t> Pickle::take(uint64_t count) {
  if (count > bytes_.size() - position_) refuse("it is cut short");
  position_ += count;
  return bytes_.subspan(position_ - count, count);
}

uint64_t Pickle::number(int bytes) {
  uint64_t value = 0;
  const auto raw = take(static_cast<uint64_t>(bytes));
  for (int i = 0; i < bytes; ++i) value |= uint64_t{raw[static_cast<size_t>(i)]} << (8 * i);
  return value;
}

std::string Pickle::line() {
  std::string text;
  for (char c = 0; (c = static_cast<char>(take(1)[0])) != '\n';) text += c;
  return text;
}

void Pickle::push(Value value) {
  values_.push_back(std::move(value));
  stack_.push_back(static_cast<uint32_t>(values_.size() - 1));
}

void Pickle::push_text(uint64_t size) {
  const auto raw = take(size);
  push({Kind::text, 0, 0, {raw.begin(), raw.end()}});
}

void Pickle::push_long(uint64_t size) {
  if (size > 8) {
    push_text(size);
    values_.back().kind = Kind::big;
    return;
  }
  const uint64_t value = number(static_cast<int>(size));
  const int unused = 64 - 8 * static_cast<int>(size);  // two's complement
  push({Kind::integer, size == 0 ? 0 : static_cast<int64_t>(value << unused) >> unused});
}

uint32_t Pickle::pop() {
  if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size()))
    refuse("it takes from an empty stack");
  const uint32_t top = stack_.back();
  stack_.pop_back();
  return top;
}

size_t Pickle::pop_mark() {
  if (marks_.empty() || marks_.back() > stack_.size()) refuse("it lacks a mark");
  const size_t mark = marks_.back();
  marks_.pop_back();
  return mark;
}

void Pickle::push_items(Kind kind, size_t begin) {
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
  Value value{kind, 0, 0, {}, {first, stack_.end()}};
  stack_.erase(first, stack_.end());
  push(std::move(value));
}

}  // namespace diffscm::io
