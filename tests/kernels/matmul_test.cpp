// Matrix products with their epilogue, column sums and inner products against the double reference.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

TEST(Matmul, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const MatmulCase& k : matmul_cases()) {
      const int64_t rows_a = k.transpose_a ? k.k : k.m, rows_b = k.transpose_b ? k.n : k.k;
      const int64_t lda = (k.transpose_a ? k.m : k.k) + k.padding;
      const int64_t ldb = (k.transpose_b ? k.k : k.n) + k.padding, ldc = k.n + k.padding;
      const Floats a = random_floats(rows_a * lda, 1), b = random_floats(rows_b * ldb, 2);
      const Floats bias = k.bias ? random_floats(k.n, 3) : Floats{};
      const Floats residual = random_floats(k.m * ldc, 4);
      Floats c = k.in_place ? residual : poisoned(k.m * ldc);
      const Floats before = c;
      table->matmul({.m = k.m,
                     .n = k.n,
                     .k = k.k,
                     .a = a.data(),
                     .lda = lda,
                     .transpose_a = k.transpose_a,
                     .b = b.data(),
                     .ldb = ldb,
                     .transpose_b = k.transpose_b,
                     .bias = data_or_null(bias),
                     .residual = !k.residual ? nullptr : (k.in_place ? c.data() : residual.data()),
                     .c = c.data(),
                     .ldc = ldc});
      const reference::Matrix initial{to_double(residual), ldc};
      const Doubles expected = reference::matmul(k.m, k.n, k.k, {to_double(a), lda, k.transpose_a},
                                                 {to_double(b), ldb, k.transpose_b},
                                                 to_double(bias), k.residual ? &initial : nullptr);
      Floats block;
      for (int64_t i = 0; i < k.m; ++i) {
        for (int64_t j = 0; j < ldc; ++j) {
          const size_t at = static_cast<size_t>(i * ldc + j);
          if (j < k.n)
            block.push_back(c[at]);
          else  // past the block nothing may be touched
            EXPECT_EQ(std::bit_cast<uint32_t>(c[at]), std::bit_cast<uint32_t>(before[at]))
                << k.name;
        }
      }
      expect_close(block, expected, k.tolerance, k.name);
    }
  }
}

TEST(Matmul, BitsDoNotDependOnThreadsOrRows) {
  for (const OperatorTable* table : tables()) {
    const int64_t m = 150, n = 300, k = 1100;
    const Floats a = random_floats(m * k, 1), b = random_floats(n * k, 2);
    const auto product = [&](int64_t row, int64_t rows) {
      Floats c = poisoned(rows * n);
      table->matmul({rows, n, k, a.data() + row * k, k, false, b.data(), k, true, nullptr, nullptr,
                     c.data(), n});
      return c;
    };
    expect_thread_independent([&]() -> std::vector<Floats> { return {product(0, m)}; }, "matmul");
    const Floats all = product(0, m);
    for (const int64_t at : {int64_t{0}, int64_t{77}, m - 1})
      expect_same_bits(product(at, 1), row(all, m, at), "one row alone");
  }
}

TEST(Matmul, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    Floats a(12), b(12), c(12);
    const auto with = [&](auto change) {
      MatmulArgs args{.m = 3,
                      .n = 3,
                      .k = 4,
                      .a = a.data(),
                      .lda = 4,
                      .transpose_a = false,
                      .b = b.data(),
                      .ldb = 3,
                      .transpose_b = false,
                      .bias = nullptr,
                      .residual = nullptr,
                      .c = c.data(),
                      .ldc = 3};
      change(args);
      table->matmul(args);
    };
    EXPECT_NO_THROW(with([](MatmulArgs&) {}));
    EXPECT_NO_THROW(with([](MatmulArgs& m) { m.m = 0; }));
    EXPECT_THROW(with([](MatmulArgs& m) { m.lda = 3; }), Error);
    EXPECT_THROW(with([](MatmulArgs& m) { m.ldb = 2; }), Error);
    EXPECT_THROW(with([](MatmulArgs& m) { m.ldc = 2; }), Error);
    EXPECT_THROW(with([](MatmulArgs& m) { m.k = -1; }), Error);
    EXPECT_THROW(with([](MatmulArgs& m) { m.c = nullptr; }), Error);
    EXPECT_THROW(with([](MatmulArgs& m) { m.a = nullptr; }), Error);
  }
}

TEST(ColumnSum, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const auto [rows, columns] : {RowsCase{1, 1}, {3, 17}, {64, 5}, {65, 5}, {3136, 192}}) {
      const Floats x = random_floats(rows * columns, 1);
      Floats y = poisoned(columns);
      table->column_sum({rows, columns, x.data(), y.data()});
      expect_close(y, reference::column_sum(rows, columns, to_double(x)), 2e-6, "column_sum");
      expect_thread_independent(
          [&]() -> std::vector<Floats> {
            Floats again = poisoned(columns);
            table->column_sum({rows, columns, x.data(), again.data()});
            return {again};
          },
          "column_sum");
    }
  }
}

TEST(ColumnSum, NoRowsGiveZeros) {
  for (const OperatorTable* table : tables()) {
    Floats y = poisoned(4);
    table->column_sum({0, 4, nullptr, y.data()});
    EXPECT_EQ(y, Floats(4, 0.0f));
    EXPECT_THROW(table->column_sum({2, 4, nullptr, y.data()}), Error);
    EXPECT_THROW(table->column_sum({-1, 4, y.data(), y.data()}), Error);
  }
}

TEST(SampleDot, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const auto [n, elements] : rows_cases()) {
      const Floats x = random_floats(n * elements, 1), z = random_floats(n * elements, 2);
      Floats y = poisoned(n);
      table->sample_dot({n, elements, x.data(), z.data(), y.data()});
      Doubles expected(static_cast<size_t>(n));
      for (int64_t i = 0; i < n * elements; ++i)
        expected[i / elements] += static_cast<double>(x[i]) * static_cast<double>(z[i]);
      expect_close(y, expected, 1e-6, "sample_dot");
    }
  }
}

}  // namespace
}  // namespace diffscm::kernels
