// Python's pickle streams, read as data. A pickle is a program for a stack machine whose REDUCE
// calls any function of any module; here nothing is called: values are numbers, texts and
// containers, and a call is a value that says which of the expected functions was asked for. The
// opcodes are those of protocols 2 to 5 that such values take (CPython's pickletools.py describes
// each).
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffscm::io {

class Pickle {
 public:
  enum class Kind {
    none,
    boolean,     // integer: 0 or 1
    integer,     // integer
    big,         // text: an integer of more than 8 bytes, little-endian
    real,        // real
    text,        // text; Python's str and bytes
    tuple,       // items
    list,        // items
    dict,        // items: key, value, key, value, ...; OrderedDict too
    global,      // text: "module.name"
    call,        // items: a global, the tuple of its arguments
    persistent,  // items: an identifier that only the file around the pickle explains
  };
  struct Value {
    Kind kind = Kind::none;
    int64_t integer = 0;
    double real = 0;
    std::string text = {};
    std::vector<uint32_t> items = {};  // indices for at(); they may be cyclic
  };

  // Reads one pickle from the beginning of `bytes`. `globals`: the functions and classes it may
  // name, beside collections.OrderedDict. Throws Error, beginning with `where`, for any other and
  // for everything malformed. Memory: at most 50 MB and twice the size of the pickle.
  Pickle(std::span<const uint8_t> bytes, std::span<const std::string_view> globals,
         std::string where);

  size_t size() const { return position_; }  // bytes of the stream that it took
  const Value& root() const { return values_[root_]; }
  const Value& at(uint32_t index) const { return values_[index]; }
  const std::deque<Value>& values() const { return values_; }

 private:
  void step(uint8_t opcode);
  void global(const std::string& name);
  void reduce();
  void build();
  void append(size_t begin, Kind kind);
  void remember(uint64_t key);
  void recall(uint64_t key);

  [[noreturn]] void refuse(const std::string& why) const;
  std::span<const uint8_t> take(uint64_t count);
  uint64_t number(int bytes);  // little-endian
  std::string line();
  void push(Value value);
  void push_text(uint64_t size);
  void push_long(uint64_t size);
  uint32_t pop();
  size_t pop_mark();
  void push_items(Kind kind, size_t begin);  // what lies on the stack from there

  std::span<const uint8_t> bytes_;
  std::span<const std::string_view> globals_;
  std::string where_;
  size_t position_ = 0;
  bool done_ = false;
  uint32_t root_ = 0;
  std::deque<Value> values_;  // values refer to each other by index: no cycle, no deep destructor
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::vector<uint32_t> memo_;  // by key, plus one; 0: nothing
};

}  // namespace diffscm::io
