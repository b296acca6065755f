// Floating-point arithmetic (PTX ISA 9.7.3). What rounds to nearest is what the host computes; the
// file is compiled without contraction, so that nothing is fused that PTX does not fuse. Subnormal
// numbers are kept where the form has no .ftz.
#include <cmath>
#include <limits>

#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
constexpr auto kRcp = [](auto a) { return decltype(a)(1) / a; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kSqrt = [](auto a) { return std::sqrt(a); };
constexpr auto kNeg = [](auto a) { return -a; };
constexpr auto kAbs = [](auto a) { return std::abs(a); };
// Of a NaN and a number, the number; +0 is more than -0.
constexpr auto kMin = [](auto a, auto b) {
  const auto less = a < b || (a == b && std::signbit(a)) ? a : b;
  return a != a ? b : b != b ? a : less;
};
constexpr auto kMax = [](auto a, auto b) {
  const auto more = a > b || (a == b && !std::signbit(a)) ? a : b;
  return a != a ? b : b != b ? a : more;
};

// a * b + c, rounded towards minus infinity. The product of two floats is exact in double, the
// error of the sum is too: the nearest float is one too high if it exceeds the exact value.
constexpr auto kFmaDown = [](float a, float b, float c) {
  const double product = double(a) * double(b);
  const double sum = product + c;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (c - part);
  const float nearest = float(sum);
  const bool high = double(nearest) > sum || (double(nearest) == sum && error < 0);
  const int32_t bits = std::bit_cast<int32_t>(nearest);
  const int32_t below = nearest > 0 ? bits - 1 : nearest < 0 ? bits + 1 : INT32_MIN + 1;
  return high ? std::bit_cast<float>(below) : nearest;
};

constexpr auto flush = [](float a) {
  return std::abs(a) < std::numeric_limits<float>::min() ? std::copysign(0.f, a) : a;
};

// 2^x for x from -160 to 130, nearly exact in float: a polynomial.
DIFFSCM_LANES_INLINE double exp2_inside(double x) {
  const double shifted = x + 0x1.8p52;  // rounds to a whole number
  const double r = (x - (shifted - 0x1.8p52)) * 0x1.62e42fefa39efp-1;
  double p = 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const auto exponent = std::bit_cast<uint64_t>(shifted) << 52;
  return std::bit_cast<double>(std::bit_cast<uint64_t>(p) + exponent);
}
// ex2.approx may be off by 2^-22, and tanh.approx by 2^-11; a small number is its own tanh.
constexpr auto kExp2 = [](float a) {
  const double x = std::min(std::max(double(a), -160.0), 130.0);  // beyond: 0 and infinity
  const float result = float(exp2_inside(x));
  return a != a ? a : result;
};
constexpr auto kTanh = [](float a) {
  constexpr double kTwiceLog2E = 0x1.71547652b82fep+1;
  const double x = std::min(std::max(double(a), -20.0), 20.0);  // beyond: -1 and 1
  const double e = exp2_inside(x * kTwiceLog2E);                // e^(2 x)
  const float result = float((e - 1) / (e + 1));
  return a != a || std::abs(a) < 0x1p-12f ? a : result;
};
constexpr auto kExp2Flushed = [](float a) { return flush(kExp2(flush(a))); };

// Defined as a * (1 / b); within 2 ulp for |b| in [2^-126, 2^126]; beyond it 1 / b is 0.
constexpr auto kDivApprox = [](float a, float b) {
  const bool beyond = std::abs(b) > 0x1p126f && std::abs(b) <= std::numeric_limits<float>::max();
  return beyond ? a * std::copysign(0.f, b) : a / b;
};
// Exact where they may be off by an ulp or two.
constexpr auto kRcpFlushed = [](float a) { return flush(1 / flush(a)); };
constexpr auto kRsqrt = [](float a) { return 1 / std::sqrt(a); };
constexpr auto kRsqrtFlushed = [](float a) { return 1 / std::sqrt(flush(a)); };
constexpr auto kSqrtFlushed = [](float a) { return std::sqrt(flush(a)); };
// The upper half of the bits only.
constexpr auto kRcpApprox64 = [](double a) {
  const double x = std::abs(a) < std::numeric_limits<double>::min() ? std::copysign(0.0, a) : a;
  return std::bit_cast<double>(std::bit_cast<uint64_t>(1 / x) & 0xffffffff00000000u);
};

template <class T>
void add_type(Forms& f, const std::string& type, InstructionClass kind) {
  const std::string n = std::to_string(sizeof(T));
  const std::string one = n + " = " + n, two = one + " " + n, three = two + " " + n;
  for (const std::string rounding : {"", "rn."}) {
    f.add("add." + rounding + type, {lanewise<kAdd, T, T, T>(), kind, two});
    f.add("sub." + rounding + type, {lanewise<kSub, T, T, T>(), kind, two});
    f.add("mul." + rounding + type, {lanewise<kMul, T, T, T>(), kind, two});
  }
  f.add("fma.rn." + type, {lanewise<kFma, T, T, T, T>(), kind, three});
  f.add("min." + type, {lanewise<kMin, T, T, T>(), kind, two});
  f.add("max." + type, {lanewise<kMax, T, T, T>(), kind, two});
  f.add("neg." + type, {lanewise<kNeg, T, T>(), kind, one});
  f.add("abs." + type, {lanewise<kAbs, T, T>(), kind, one});
  const auto special = InstructionClass::special;
  f.add("div.rn." + type, {lanewise<kDiv, T, T, T>(), special, two});
  f.add("rcp.rn." + type, {lanewise<kRcp, T, T>(), special, one});
  f.add("sqrt.rn." + type, {lanewise<kSqrt, T, T>(), special, one});
}

}  // namespace

void add_float_forms(Forms& f) {
  add_type<float>(f, "f32", InstructionClass::float32);
  add_type<double>(f, "f64", InstructionClass::float64);
  f.add("fma.rm.f32",
        {lanewise<kFmaDown, float, float, float, float>(), InstructionClass::float32, "4 = 4 4 4"});
  const auto special = InstructionClass::special;
  f.add("ex2.approx.f32", {lanewise<kExp2, float, float>(), special, "4 = 4"});
  f.add("ex2.approx.ftz.f32", {lanewise<kExp2Flushed, float, float>(), special, "4 = 4"});
  f.add("tanh.approx.f32", {lanewise<kTanh, float, float>(), special, "4 = 4"});
  f.add("div.approx.f32", {lanewise<kDivApprox, float, float, float>(), special, "4 = 4 4"});
  f.add("rcp.approx.f32", {lanewise<kRcp, float, float>(), special, "4 = 4"});
  f.add("rcp.approx.ftz.f32", {lanewise<kRcpFlushed, float, float>(), special, "4 = 4"});
  f.add("rsqrt.approx.f32", {lanewise<kRsqrt, float, float>(), special, "4 = 4"});
  f.add("rsqrt.approx.ftz.f32", {lanewise<kRsqrtFlushed, float, float>(), special, "4 = 4"});
  f.add("sqrt.approx.f32", {lanewise<kSqrt, float, float>(), special, "4 = 4"});
  f.add("sqrt.approx.ftz.f32", {lanewise<kSqrtFlushed, float, float>(), special, "4 = 4"});
  f.add("rcp.approx.ftz.f64", {lanewise<kRcpApprox64, double, double>(), special, "8 = 8"});
}

}  // namespace diffscm::softgpu
