// Two matrices whose product is exact in any order, for the tests of matrix instructions.
#pragma once

namespace diffscm::kernels::test {

constexpr float element_a(int m, int k) {
  return static_cast<float>((m * 7 + k * 3) % 31 - 15);
}
constexpr float element_b(int k, int n) {
  return static_cast<float>((k * 11 + n * 5) % 29 - 14);
}

// The sum over k < inner of a[m][k] b[k][n].
constexpr double product(int m, int n, int inner) {
  double sum = 0;
  for (int k = 0; k < inner; ++k) sum += double{element_a(m, k)} * double{element_b(k, n)};
  return sum;
}

}  // namespace diffscm::kernels::test
