// Integer arithmetic, logic and shifts (PTX ISA 9.7.1, 9.7.2, 9.7.8).
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
// Of twice the bits.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

// Sums and products wrap: they are computed without sign, in 64 bits, and cut off.
constexpr auto kAdd = [](auto a, auto b) { return uint64_t(a) + uint64_t(b); };
constexpr auto kSub = [](auto a, auto b) { return uint64_t(a) - uint64_t(b); };
constexpr auto kNeg = [](auto a) { return 0 - uint64_t(a); };
constexpr auto kAbs = [](auto a) { return a < 0 ? 0 - uint64_t(a) : uint64_t(a); };
constexpr auto kMulLow = [](auto a, auto b) { return uint64_t(a) * uint64_t(b); };
constexpr auto kMulWide = [](auto a, auto b) {
  return Wide<decltype(a)>(a) * Wide<decltype(b)>(b);
};
constexpr auto kMulHigh = [](auto a, auto b) { return kMulWide(a, b) >> 8 * sizeof(a); };
constexpr auto kMadLow = [](auto a, auto b, auto c) { return kMulLow(a, b) + uint64_t(c); };
constexpr auto kMadHigh = [](auto a, auto b, auto c) {
  return uint64_t(kMulHigh(a, b)) + uint64_t(c);
};
constexpr auto kMadWide = [](auto a, auto b, auto c) {
  return uint64_t(kMulWide(a, b)) + uint64_t(c);
};
constexpr auto kMin = [](auto a, auto b) { return b < a ? b : a; };
constexpr auto kMax = [](auto a, auto b) { return a < b ? b : a; };
constexpr auto kAnd = [](auto a, auto b) { return a & b; };
constexpr auto kOr = [](auto a, auto b) { return a | b; };
constexpr auto kXor = [](auto a, auto b) { return a ^ b; };
constexpr auto kNot = [](auto a) { return ~a; };
// A shift by the width or more leaves nothing but the sign.
constexpr auto kShiftLeft = [](auto a, uint32_t n) {
  return n < 8 * sizeof(a) ? uint64_t(a) << n : uint64_t(0);
};
constexpr auto kShiftRight = [](auto a, uint32_t n) {
  constexpr uint32_t last = 8 * sizeof(a) - 1;
  if (n <= last) return decltype(a)(a >> n);
  return decltype(a)(std::is_signed_v<decltype(a)> ? a >> last : 0);
};
constexpr auto kLeadingZeros = [](auto a) { return std::countl_zero(a); };
constexpr auto kPopulation = [](auto a) { return std::popcount(a); };
// b with its `length` bits from `first` on taken from a; of both counts the low eight bits count.
constexpr auto kInsertBits = [](uint32_t a, uint32_t b, uint32_t first, uint32_t length) {
  first &= 255, length &= 255;
  if (first > 31) return b;
  const uint32_t mask = (length > 31 ? ~0u : (1u << length) - 1) << first;
  return (b & ~mask) | (a << first & mask);
};
// What division by zero gives is not specified; the machine gives all ones.
constexpr auto kDiv = [](auto a, auto b) {
  using T = decltype(a);
  if (b == 0) return T(-1);
  if (std::is_signed_v<T> && b == T(-1)) return T(0 - uint64_t(a));
  return T(a / b);
};
constexpr auto kRem = [](auto a, auto b) {
  using T = decltype(a);
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == T(-1)) return T(0);
  return T(a % b);
};

// Additions that read and write the carry of each lane: d = product or a, + b + carry-in. Long
// arithmetic in the slow paths of trigonometric functions; not worth vectors.
enum class Product { none, low, high };
template <Product product, bool carry_in, bool carry_out, bool subtract>
void with_carry(Warp& w, const Instruction& i) {
  auto* d = w.at<uint32_t>(i.operand[0]);
  const auto* a = w.at<uint32_t>(i.operand[1]);
  const auto* b = w.at<uint32_t>(i.operand[2]);
  const auto* c = w.at<uint32_t>(i.operand[product == Product::none ? 2 : 3]);
  each_lane(w.active, [&](int l) {
    uint64_t first = a[l];
    if (product == Product::low) first = uint32_t(a[l] * b[l]);
    if (product == Product::high) first = uint64_t(a[l]) * b[l] >> 32;
    const uint64_t in = carry_in ? w.carry >> l & 1 : 0;
    const uint64_t sum = subtract ? first - c[l] - in : first + c[l] + in;
    d[l] = uint32_t(sum);
    if (carry_out) w.carry = (w.carry & ~(1u << l)) | uint32_t(sum >> 32 & 1) << l;
  });
}

// "4 = 4 4" for two operands of 4 bytes.
std::string spec(int operands, int bytes, int result_bytes = 0) {
  std::string s = fmt::format("{} =", result_bytes ? result_bytes : bytes);
  for (int k = 0; k < operands; ++k) s += fmt::format(" {}", bytes);
  return s;
}

// For a type that the machine computes with as 16, 32 or 64 bits.
template <class T>
void add_arithmetic(Forms& f, const std::string& type) {
  constexpr int n = sizeof(T);
  const auto kind = InstructionClass::integer;
  f.add("add." + type, {lanewise<kAdd, T, T, T>(), kind, spec(2, n)});
  f.add("sub." + type, {lanewise<kSub, T, T, T>(), kind, spec(2, n)});
  f.add("mul.lo." + type, {lanewise<kMulLow, T, T, T>(), kind, spec(2, n)});
  f.add("mul.hi." + type, {lanewise<kMulHigh, T, T, T>(), kind, spec(2, n)});
  f.add("mad.lo." + type, {lanewise<kMadLow, T, T, T, T>(), kind, spec(3, n)});
  f.add("mad.hi." + type, {lanewise<kMadHigh, T, T, T, T>(), kind, spec(3, n)});
  f.add("min." + type, {lanewise<kMin, T, T, T>(), kind, spec(2, n)});
  f.add("max." + type, {lanewise<kMax, T, T, T>(), kind, spec(2, n)});
  f.add("div." + type, {lanewise<kDiv, T, T, T>(), InstructionClass::special, spec(2, n)});
  f.add("rem." + type, {lanewise<kRem, T, T, T>(), InstructionClass::special, spec(2, n)});
  f.add("shr." + type, {lanewise<kShiftRight, T, T, uint32_t>(), kind, spec(1, n) + " 4"});
  if constexpr (n < 8) {
    f.add("mul.wide." + type, {lanewise<kMulWide, Wide<T>, T, T>(), kind, spec(2, n, 2 * n)});
    f.add("mad.wide." + type, {lanewise<kMadWide, Wide<T>, T, T, Wide<T>>(), kind,
                               spec(2, n, 2 * n) + " " + std::to_string(2 * n)});
  }
  if constexpr (std::is_signed_v<T>) {
    f.add("neg." + type, {lanewise<kNeg, T, T>(), kind, spec(1, n)});
    f.add("abs." + type, {lanewise<kAbs, T, T>(), kind, spec(1, n)});
  }
}

template <class T>
void add_logic(Forms& f, const std::string& type) {
  constexpr int n = sizeof(T);
  const auto kind = InstructionClass::integer;
  f.add("and." + type, {lanewise<kAnd, T, T, T>(), kind, spec(2, n)});
  f.add("or." + type, {lanewise<kOr, T, T, T>(), kind, spec(2, n)});
  f.add("xor." + type, {lanewise<kXor, T, T, T>(), kind, spec(2, n)});
  f.add("not." + type, {lanewise<kNot, T, T>(), kind, spec(1, n)});
  f.add("shl." + type, {lanewise<kShiftLeft, T, T, uint32_t>(), kind, spec(1, n) + " 4"});
  f.add("shr." + type, {lanewise<kShiftRight, T, T, uint32_t>(), kind, spec(1, n) + " 4"});
  if constexpr (n > 2) {
    f.add("clz." + type, {lanewise<kLeadingZeros, uint32_t, T>(), kind, spec(1, n, 4)});
    f.add("popc." + type, {lanewise<kPopulation, uint32_t, T>(), kind, spec(1, n, 4)});
  }
}

}  // namespace

void add_integer_forms(Forms& f) {
  add_arithmetic<uint16_t>(f, "u16");
  add_arithmetic<int16_t>(f, "s16");
  add_arithmetic<uint32_t>(f, "u32");
  add_arithmetic<int32_t>(f, "s32");
  add_arithmetic<uint64_t>(f, "u64");
  add_arithmetic<int64_t>(f, "s64");
  add_logic<uint16_t>(f, "b16");
  add_logic<uint32_t>(f, "b32");
  add_logic<uint64_t>(f, "b64");

  const auto kind = InstructionClass::integer;
  using enum Product;
  f.add("bfi.b32", {lanewise<kInsertBits, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>(), kind,
                    spec(4, 4)});
  f.add("add.cc.u32", {with_carry<none, false, true, false>, kind, "4 = 4 4"});
  f.add("addc.cc.u32", {with_carry<none, true, true, false>, kind, "4 = 4 4"});
  f.add("addc.u32", {with_carry<none, true, false, false>, kind, "4 = 4 4"});
  f.add("sub.cc.u32", {with_carry<none, false, true, true>, kind, "4 = 4 4"});
  f.add("subc.cc.u32", {with_carry<none, true, true, true>, kind, "4 = 4 4"});
  f.add("subc.u32", {with_carry<none, true, false, true>, kind, "4 = 4 4"});
  f.add("mad.lo.cc.u32", {with_carry<low, false, true, false>, kind, "4 = 4 4 4"});
  f.add("mad.hi.cc.u32", {with_carry<high, false, true, false>, kind, "4 = 4 4 4"});
  f.add("madc.lo.cc.u32", {with_carry<low, true, true, false>, kind, "4 = 4 4 4"});
  f.add("madc.hi.cc.u32", {with_carry<high, true, true, false>, kind, "4 = 4 4 4"});
  f.add("madc.lo.u32", {with_carry<low, true, false, false>, kind, "4 = 4 4 4"});
  f.add("madc.hi.u32", {with_carry<high, true, false, false>, kind, "4 = 4 4 4"});
}

}  // namespace diffscm::softgpu
