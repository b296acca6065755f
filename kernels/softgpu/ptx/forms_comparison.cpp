// Comparisons, predicates and selections (PTX ISA 9.7.6, 9.7.7).
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr auto kEq = [](auto a, auto b) { return a == b; };
constexpr auto kNe = [](auto a, auto b) { return a != b; };
constexpr auto kLt = [](auto a, auto b) { return a < b; };
constexpr auto kLe = [](auto a, auto b) { return a <= b; };
constexpr auto kGt = [](auto a, auto b) { return a > b; };
constexpr auto kGe = [](auto a, auto b) { return a >= b; };
// Of floating-point numbers: false with a NaN, and those that end in u true.
constexpr auto kNum = [](auto a, auto b) { return a == a && b == b; };
constexpr auto kNan = [](auto a, auto b) { return a != a || b != b; };
constexpr auto kNeOrdered = [](auto a, auto b) { return a < b || a > b; };
constexpr auto kEqu = [](auto a, auto b) { return !(a < b || a > b); };
constexpr auto kLtu = [](auto a, auto b) { return !(a >= b); };
constexpr auto kLeu = [](auto a, auto b) { return !(a > b); };
constexpr auto kGtu = [](auto a, auto b) { return !(a <= b); };
constexpr auto kGeu = [](auto a, auto b) { return !(a < b); };

template <class T>
void add_ordered(Forms& f, const std::string& type, InstructionClass kind) {
  const std::string n = std::to_string(sizeof(T)), operands = "p = " + n + " " + n;
  f.add("setp.eq." + type, {lanewise_predicate<kEq, T, T>(), kind, operands});
  f.add("setp.lt." + type, {lanewise_predicate<kLt, T, T>(), kind, operands});
  f.add("setp.le." + type, {lanewise_predicate<kLe, T, T>(), kind, operands});
  f.add("setp.gt." + type, {lanewise_predicate<kGt, T, T>(), kind, operands});
  f.add("setp.ge." + type, {lanewise_predicate<kGe, T, T>(), kind, operands});
}

template <class T>
void add_integer(Forms& f, const std::string& type) {
  const std::string n = std::to_string(sizeof(T)), operands = "p = " + n + " " + n;
  const auto kind = InstructionClass::integer;
  if (type[0] != 'b') {
    add_ordered<T>(f, type, kind);
  } else {
    f.add("setp.eq." + type, {lanewise_predicate<kEq, T, T>(), kind, operands});
  }
  f.add("setp.ne." + type, {lanewise_predicate<kNe, T, T>(), kind, operands});
}

template <class T>
void add_float(Forms& f, const std::string& type, InstructionClass kind) {
  const std::string n = std::to_string(sizeof(T)), operands = "p = " + n + " " + n;
  add_ordered<T>(f, type, kind);
  f.add("setp.ne." + type, {lanewise_predicate<kNeOrdered, T, T>(), kind, operands});
  f.add("setp.num." + type, {lanewise_predicate<kNum, T, T>(), kind, operands});
  f.add("setp.nan." + type, {lanewise_predicate<kNan, T, T>(), kind, operands});
  f.add("setp.equ." + type, {lanewise_predicate<kEqu, T, T>(), kind, operands});
  f.add("setp.neu." + type, {lanewise_predicate<kNe, T, T>(), kind, operands});
  f.add("setp.ltu." + type, {lanewise_predicate<kLtu, T, T>(), kind, operands});
  f.add("setp.leu." + type, {lanewise_predicate<kLeu, T, T>(), kind, operands});
  f.add("setp.gtu." + type, {lanewise_predicate<kGtu, T, T>(), kind, operands});
  f.add("setp.geu." + type, {lanewise_predicate<kGeu, T, T>(), kind, operands});
}

// d = p ? a : b
template <class W>
struct Select {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    auto* d = w.at<W>(i.operand[0]);
    const auto* a = w.at<W>(i.operand[1]);
    const auto* b = w.at<W>(i.operand[2]);
    const uint32_t p = w.predicate(i.operand[3]), active = w.active;
#pragma GCC ivdep
    for (int l = 0; l < kLanes; ++l) {
      const W r = p >> l & 1 ? a[l] : b[l];
      d[l] = active >> l & 1 ? r : d[l];
    }
  }
};

// On predicates every lane is a bit.
template <auto op>
void logic(Warp& w, const Instruction& i) {
  uint32_t& p = w.predicate(i.operand[0]);
  const uint32_t r = op(w.predicate(i.operand[1]), w.predicate(i.operand[2]));
  p = (p & ~w.active) | (r & w.active);
}
constexpr auto kAnd = [](uint32_t a, uint32_t b) { return a & b; };
constexpr auto kOr = [](uint32_t a, uint32_t b) { return a | b; };
constexpr auto kXor = [](uint32_t a, uint32_t b) { return a ^ b; };
constexpr auto kFirst = [](uint32_t a, uint32_t) { return a; };
constexpr auto kNot = [](uint32_t a, uint32_t) { return ~a; };

}  // namespace

void add_comparison_forms(Forms& f) {
  add_integer<uint16_t>(f, "u16");
  add_integer<int16_t>(f, "s16");
  add_integer<uint16_t>(f, "b16");
  add_integer<uint32_t>(f, "u32");
  add_integer<int32_t>(f, "s32");
  add_integer<uint32_t>(f, "b32");
  add_integer<uint64_t>(f, "u64");
  add_integer<int64_t>(f, "s64");
  add_integer<uint64_t>(f, "b64");
  add_float<float>(f, "f32", InstructionClass::float32);
  add_float<double>(f, "f64", InstructionClass::float64);

  const auto kind = InstructionClass::integer;
  for (const std::string type : {"b16", "u16", "s16"})
    f.add("selp." + type, {Cloned<Select<uint32_t>::leaf>::chosen(), kind, "2 = 2 2 p"});
  for (const std::string type : {"b32", "u32", "s32", "f32"})
    f.add("selp." + type, {Cloned<Select<uint32_t>::leaf>::chosen(), kind, "4 = 4 4 p"});
  for (const std::string type : {"b64", "u64", "s64", "f64"})
    f.add("selp." + type, {Cloned<Select<uint64_t>::leaf>::chosen(), kind, "8 = 8 8 p"});
  f.add("and.pred", {logic<kAnd>, kind, "p = p p"});
  f.add("or.pred", {logic<kOr>, kind, "p = p p"});
  f.add("xor.pred", {logic<kXor>, kind, "p = p p"});
  f.add("not.pred", {logic<kNot>, kind, "p = p"});
  f.add("mov.pred", {logic<kFirst>, kind, "p = p"});
}

}  // namespace diffscm::softgpu
