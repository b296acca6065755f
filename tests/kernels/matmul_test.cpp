// Matrix products with their epilogue, column sums and inner products against the double reference.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// T: storage of a and b; U: of residual and c.
template <class T, class U>
void check(const Device& d, const Operator<BasicMatmulArgs<T, U>>& matmul, const MatmulCase& k) {
  const int64_t rows_a = k.transpose_a ? k.k : k.m, rows_b = k.transpose_b ? k.n : k.k;
  const int64_t lda = (k.transpose_a ? k.m : k.k) + k.padding;
  const int64_t ldb = (k.transpose_b ? k.k : k.n) + k.padding, ldc = k.n + k.padding;
  const auto a = d.input<T>(random_floats(rows_a * lda, 1));
  const auto b = d.input<T>(random_floats(rows_b * ldb, 2));
  const auto bias = d.input(k.bias ? random_floats(k.n, 3) : Floats{});
  const auto residual = d.input<U>(random_floats(k.m * ldc, 4));
  Array<U> c = k.in_place ? d.inout<U>(residual.floats()) : d.output<U>(k.m * ldc);
  const Floats before = c.floats();
  matmul({.m = k.m,
          .n = k.n,
          .k = k.k,
          .a = a,
          .lda = lda,
          .transpose_a = k.transpose_a,
          .b = b,
          .ldb = ldb,
          .transpose_b = k.transpose_b,
          .bias = bias,
          .residual = !k.residual ? nullptr : (k.in_place ? c.data() : residual.data()),
          .c = c,
          .ldc = ldc});
  const reference::Matrix initial{residual.doubles(), ldc};
  const Doubles expected = reference::matmul(k.m, k.n, k.k, {a.doubles(), lda, k.transpose_a},
                                             {b.doubles(), ldb, k.transpose_b}, bias.doubles(),
                                             k.residual ? &initial : nullptr);
  const Floats after = c.floats();
  Floats block, beyond, beyond_before;  // past the block nothing may be touched
  for (int64_t i = 0; i < k.m * ldc; ++i) {
    if (i % ldc < k.n) {
      block.push_back(after[i]);
    } else {
      beyond.push_back(after[i]);
      beyond_before.push_back(before[i]);
    }
  }
  expect_close(block, expected, k.tolerance, k.name, kRounding<U>);
  expect_same_bits(beyond, beyond_before, std::string(k.name) + " past the block");
}

template <class T, class U>
void check_all(Device& d, const Operator<BasicMatmulArgs<T, U>>& matmul) {
  for (const MatmulCase& k : d.affordable(matmul_cases())) {
    check(d, matmul, k);
    if (k.work() > 2e4) continue;
    d.offset = 1;
    check(d, matmul, k);
    d.offset = 0;
  }
}

TYPED_TARGET_TEST(Matmul, MatchesReference) {
  check_all(d, d.table.of(BasicMatmulArgs<T>{}));
}

// Weight gradients: operands in bf16, result in f32, so nothing is lost to rounding it.
TARGET_TEST_ON("emu cuda", Matmul, WideResultMatchesReference) {
  check_all(d, d.table.matmul_bf16_f32);
}

// At sizes that fill a GPU, with the cpu target as the reference.
TYPED_TARGET_TEST_ON("cuda", Matmul, LargeMatchesCpu) {
  const Device cpu(kTargets[0]);
  struct Shape {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
  };
  for (const auto [m, n, k, transpose_a, transpose_b] : {Shape{12544, 192, 64, false, true},
                                                         {4096, 512, 1000, false, true},
                                                         {192, 64, 12544, true, false},
                                                         {1000, 1000, 1000, true, true}}) {
    const auto a = d.input<T>(random_floats(m * k, 1)), b = d.input<T>(random_floats(k * n, 2));
    const auto wide_a = cpu.input(a.floats()), wide_b = cpu.input(b.floats());
    auto c = d.output<T>(m * n);
    auto expected = cpu.output(m * n);
    const int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
    d.table.of(BasicMatmulArgs<T>{})(
        {m, n, k, a, lda, transpose_a, b, ldb, transpose_b, nullptr, nullptr, c, n});
    cpu.table.matmul({m, n, k, wide_a, lda, transpose_a, wide_b, ldb, transpose_b, nullptr, nullptr,
                      expected, n});
    expect_close(c, expected.doubles(), 1e-5, fmt::format("{}x{}x{}", m, n, k));
  }
}

TYPED_TARGET_TEST(Matmul, IsReproducible) {
  const int64_t m = 33, n = 40, k = 1100;
  const auto a = d.input<T>(random_floats(m * k, 1)), b = d.input<T>(random_floats(n * k, 2));
  expect_reproducible(
      d,
      [&]() -> std::vector<Floats> {
        auto c = d.output<T>(m * n);
        d.table.of(BasicMatmulArgs<T>{})(
            {m, n, k, a, k, false, b, k, true, nullptr, nullptr, c, n});
        return {c.floats()};
      },
      "matmul");
}

// The cpu target promises more: neither threads nor the number of rows change a row's bits.
TARGET_TEST_ON("cpu", Matmul, BitsDoNotDependOnThreadsOrRows) {
  const int64_t m = 150, n = 300, k = 1100;
  const auto a = d.input(random_floats(m * k, 1)), b = d.input(random_floats(n * k, 2));
  const auto product = [&](int64_t row, int64_t rows) {
    auto c = d.output(rows * n);
    d.table.matmul({rows, n, k, a + row * k, k, false, b, k, true, nullptr, nullptr, c, n});
    return c.floats();
  };
  expect_reproducible(
      d, [&]() -> std::vector<Floats> { return {product(0, m)}; }, "matmul");
  const Floats all = product(0, m);
  for (const int64_t at : {int64_t{0}, int64_t{77}, m - 1})
    expect_same_bits(product(at, 1), row(all, m, at), "one row alone");
}

// One image gives the same result in every batch: whatever tiles a number of rows is served by, a
// row's sums are the same. (cuBLAS promises nothing of the kind.)
TYPED_TARGET_TEST_ON("emu cuda", Matmul, ARowDoesNotDependOnHowManyThereAre) {
  const char* gemm = std::getenv("DIFFSCM_GEMM");
  if (gemm != nullptr && std::string_view(gemm) == "cublas") GTEST_SKIP() << "not of cuBLAS";
  const int64_t m = 130, n = 72, k = 200;
  const auto a = d.input<T>(random_floats(m * k, 1)), b = d.input<T>(random_floats(n * k, 2));
  const auto bias = d.input(random_floats(n, 3));
  const auto product = [&](int64_t rows) {
    auto c = d.output<T>(rows * n);
    d.table.of(BasicMatmulArgs<T>{})({rows, n, k, a, k, false, b, k, true, bias, nullptr, c, n});
    return c.floats();
  };
  const Floats all = product(m);
  for (const int64_t rows : {1, 3, 16, 64, 65}) {
    const Floats some = product(rows);
    expect_same_bits(some, Floats(all.begin(), all.begin() + rows * n),
                     "rows " + std::to_string(rows));
  }
}

TYPED_TARGET_TEST(Matmul, RejectsBadArguments) {
  const auto a = d.input<T>(Floats(12)), b = d.input<T>(Floats(12));
  auto c = d.output<T>(12);
  const auto with = [&](auto change) {
    BasicMatmulArgs<T> args{.m = 3,
                            .n = 3,
                            .k = 4,
                            .a = a,
                            .lda = 4,
                            .transpose_a = false,
                            .b = b,
                            .ldb = 3,
                            .transpose_b = false,
                            .bias = nullptr,
                            .residual = nullptr,
                            .c = c,
                            .ldc = 3};
    change(args);
    d.table.of(args)(args);
  };
  using Args = BasicMatmulArgs<T>;
  EXPECT_NO_THROW(with([](Args&) {}));
  EXPECT_NO_THROW(with([](Args& m) { m.m = 0; }));
  EXPECT_THROW(with([](Args& m) { m.lda = 3; }), Error);
  EXPECT_THROW(with([](Args& m) { m.ldb = 2; }), Error);
  EXPECT_THROW(with([](Args& m) { m.ldc = 2; }), Error);
  EXPECT_THROW(with([](Args& m) { m.k = -1; }), Error);
  EXPECT_THROW(with([](Args& m) { m.c = nullptr; }), Error);
  EXPECT_THROW(with([](Args& m) { m.a = nullptr; }), Error);
}

TYPED_TARGET_TEST(ColumnSum, MatchesReference) {
  const auto& column_sum = d.table.of(BasicColumnSumArgs<T>{});
  for (const auto [rows, columns] :
       {RowsCase{1, 1}, {3, 17}, {64, 5}, {65, 5}, {50, 130}, {5000, 6}, {1536, 192}}) {
    d.offset = columns % 2;
    const auto x = d.input<T>(random_floats(rows * columns, 1));
    auto y = d.output(columns);
    column_sum({rows, columns, x, y});
    expect_close(y, reference::column_sum(rows, columns, x.doubles()), 2e-6, "column_sum");
    expect_reproducible(
        d,
        [&]() -> std::vector<Floats> {
          auto again = d.output(columns);
          column_sum({rows, columns, x, again});
          return {again.floats()};
        },
        "column_sum");
  }
}

TYPED_TARGET_TEST(ColumnSum, NoRowsGiveZeros) {
  const auto& column_sum = d.table.of(BasicColumnSumArgs<T>{});
  const auto x = d.input<T>(Floats(4));
  auto y = d.output(4);
  column_sum({0, 4, nullptr, y});
  EXPECT_EQ(y.floats(), Floats(4, 0.0f));
  EXPECT_THROW(column_sum({2, 4, nullptr, y}), Error);
  EXPECT_THROW(column_sum({-1, 4, x, y}), Error);
}

TARGET_TEST(SampleDot, MatchesReference) {
  auto cases = rows_cases();
  cases.push_back({3, 20004});  // samples in slices, the last of them shorter
  for (const auto [n, elements] : cases) {
    d.offset = elements % 2;
    const auto x = d.input(random_floats(n * elements, 1));
    const auto z = d.input(random_floats(n * elements, 2));
    auto y = d.output(n);
    d.table.sample_dot({n, elements, x, z, y});
    Doubles expected(static_cast<size_t>(n));
    const Doubles xs = x.doubles(), zs = z.doubles();
    for (int64_t i = 0; i < n * elements; ++i) expected[i / elements] += xs[i] * zs[i];
    expect_close(y, expected, 1e-6, "sample_dot");
  }
}

}  // namespace
}  // namespace diffscm::kernels
