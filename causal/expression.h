// Arithmetic as text: structural equations, and do() as a function of the natural value.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace diffscm::causal {

// Numbers, names, + - * / ^, comparisons, && and ||, a ? b : c, parentheses, pi, and functions:
//   abs sign sqrt exp log log2 log10 sin cos tan asin acos atan atan2(y, x) sinh cosh tanh
//   sigmoid floor ceil round min(..) max(..)
// log is the natural one; truth is 1 or 0. A name is letters, digits, _ and dots, or anything
// between backquotes. Nothing else can be said, so nothing but arithmetic can happen (evaluated by
// muParser).
class Expression {
 public:
  // Throws Error naming the text and the part of it that is wrong; of an unknown name, those of
  // `names` that could be meant.
  Expression(std::string text, std::vector<std::string> names);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  const std::string& text() const;
  // Whether the expression mentions names[i].
  bool mentions(size_t i) const;
  // `values`: one per name. NaN or infinity where the arithmetic has no other answer. One thread at
  // a time.
  double operator()(std::span<const double> values) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// The names in the text that are neither functions nor constants, in order of first appearance.
// Throws Error as the constructor does, but knows no names.
std::vector<std::string> names_in(const std::string& text);

}  // namespace diffscm::causal
