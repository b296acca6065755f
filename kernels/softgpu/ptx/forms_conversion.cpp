// cvt: from one type to another (PTX ISA 9.7.9.21).
#include <cmath>
#include <limits>

#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr auto kSame = [](auto a) { return a; };  // the result's type cuts off or extends
// Of a register that is wider than the type, the low bits.
template <class A>
constexpr auto kLow = [](uint64_t a) { return A(a); };

// A float to the nearest bf16, ties to even; NaN becomes the one canonical NaN.
constexpr auto kToBf16 = [](float a) {
  const uint32_t bits = std::bit_cast<uint32_t>(a);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return uint16_t(a != a ? 0x7fff : rounded);
};
constexpr auto kToBf16Pair = [](float high, float low) {
  return uint32_t(kToBf16(high)) << 16 | kToBf16(low);
};
constexpr auto kFromBf16 = [](uint16_t a) { return std::bit_cast<float>(uint32_t(a) << 16); };

// Into [0, 1]; NaN becomes 0.
constexpr auto kSaturate = [](auto a) {
  return a >= 1 ? decltype(a)(1) : a > 0 ? a : decltype(a)(0);
};

constexpr auto kNearest = [](auto a) { return std::nearbyint(a); };
constexpr auto kToZero = [](auto a) { return std::trunc(a); };
constexpr auto kDown = [](auto a) { return std::floor(a); };
constexpr auto kUp = [](auto a) { return std::ceil(a); };

// A whole number in a float to integer type T: clamped to its range, NaN becomes 0.
template <class T, auto round>
constexpr auto kToInteger = [](auto a) {
  using F = decltype(a);
  constexpr F low = F(std::numeric_limits<T>::min());
  constexpr F high = F(std::numeric_limits<T>::max());  // may round up: then it does not fit itself
  const F whole = round(a);
  if (a != a) return T(0);
  if (whole <= low) return std::numeric_limits<T>::min();
  if (whole >= high) return std::numeric_limits<T>::max();
  return T(whole);
};

template <class D, class A>
void add_integer(Forms& f, const std::string& d, const std::string& a) {
  const auto kind =
      sizeof(D) == sizeof(A) ? InstructionClass::integer : InstructionClass::conversion;
  const std::string opcode = fmt::format("cvt.{}.{}", d, a);
  const size_t to = std::max<size_t>(sizeof(D), 2), from = std::max<size_t>(sizeof(A), 2);
  f.add(opcode, {lanewise<kSame, D, A>(), kind, fmt::format("{} = {}", to, from)});
  if constexpr (sizeof(A) < 8)
    f.add(opcode, {lanewise<kLow<A>, D, uint64_t>(), kind, fmt::format("{} = 8", to)});
}

template <class T>
void add_from_integer(Forms& f, const std::string& type) {
  add_integer<uint16_t, T>(f, "u16", type);
  add_integer<int16_t, T>(f, "s16", type);
  add_integer<uint32_t, T>(f, "u32", type);
  add_integer<int32_t, T>(f, "s32", type);
  add_integer<uint64_t, T>(f, "u64", type);
  add_integer<int64_t, T>(f, "s64", type);
  const std::string n = std::to_string(std::max<size_t>(sizeof(T), 2));
  const auto kind = InstructionClass::conversion;
  f.add("cvt.rn.f32." + type, {lanewise<kSame, float, T>(), kind, "4 = " + n});
  f.add("cvt.rn.f64." + type, {lanewise<kSame, double, T>(), kind, "8 = " + n});
}

template <class T, class F>
void add_to_integer(Forms& f, const std::string& type, const std::string& from) {
  const std::string operands = std::to_string(sizeof(T)) + " = " + std::to_string(sizeof(F));
  const std::string end = "." + type + "." + from;
  const auto kind = InstructionClass::conversion;
  f.add("cvt.rni" + end, {lanewise<kToInteger<T, kNearest>, T, F>(), kind, operands});
  f.add("cvt.rzi" + end, {lanewise<kToInteger<T, kToZero>, T, F>(), kind, operands});
  f.add("cvt.rmi" + end, {lanewise<kToInteger<T, kDown>, T, F>(), kind, operands});
  f.add("cvt.rpi" + end, {lanewise<kToInteger<T, kUp>, T, F>(), kind, operands});
}

template <class F>
void add_float(Forms& f, const std::string& type) {
  const std::string n = std::to_string(sizeof(F)), operands = n + " = " + n;
  const std::string end = "." + type + "." + type;
  const auto kind = InstructionClass::conversion;
  f.add("cvt.sat" + end, {lanewise<kSaturate, F, F>(), kind, operands});
  f.add("cvt.rni" + end, {lanewise<kNearest, F, F>(), kind, operands});
  f.add("cvt.rzi" + end, {lanewise<kToZero, F, F>(), kind, operands});
  f.add("cvt.rmi" + end, {lanewise<kDown, F, F>(), kind, operands});
  f.add("cvt.rpi" + end, {lanewise<kUp, F, F>(), kind, operands});
  add_to_integer<int32_t, F>(f, "s32", type);
  add_to_integer<uint32_t, F>(f, "u32", type);
  add_to_integer<int64_t, F>(f, "s64", type);
  add_to_integer<uint64_t, F>(f, "u64", type);
}

}  // namespace

void add_conversion_forms(Forms& f) {
  add_from_integer<uint8_t>(f, "u8");
  add_from_integer<int8_t>(f, "s8");
  add_from_integer<uint16_t>(f, "u16");
  add_from_integer<int16_t>(f, "s16");
  add_from_integer<uint32_t>(f, "u32");
  add_from_integer<int32_t>(f, "s32");
  add_from_integer<uint64_t>(f, "u64");
  add_from_integer<int64_t>(f, "s64");
  add_float<float>(f, "f32");
  add_float<double>(f, "f64");

  const auto kind = InstructionClass::conversion;
  f.add("cvt.f64.f32", {lanewise<kSame, double, float>(), kind, "8 = 4"});
  f.add("cvt.rn.f32.f64", {lanewise<kSame, float, double>(), kind, "4 = 8"});
  f.add("cvt.rn.bf16.f32", {lanewise<kToBf16, uint16_t, float>(), kind, "2 = 4"});
  f.add("cvt.rn.bf16x2.f32", {lanewise<kToBf16Pair, uint32_t, float, float>(), kind, "4 = 4 4"});
  f.add("cvt.f32.bf16", {lanewise<kFromBf16, float, uint16_t>(), kind, "4 = 2"});
}

}  // namespace diffscm::softgpu
