#include "causal/expression.h"

#include <muParser.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "data/attribute.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr size_t kMaxLength = 10000, kMaxDepth = 200;
constexpr const char* kFunctions[] = {"abs",   "sign",  "sqrt",  "exp",  "log",  "log2",
                                      "log10", "sin",   "cos",   "tan",  "asin", "acos",
                                      "atan",  "atan2", "sinh",  "cosh", "tanh", "sigmoid",
                                      "floor", "ceil",  "round", "min",  "max"};

bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || static_cast<signed char>(c) < 0;
}
bool continues_name(char c) {
  return begins_name(c) || std::isdigit(static_cast<unsigned char>(c)) || c == '.';
}

struct Token {
  enum class Kind { number, name, function, other } kind;
  size_t at;         // in the text
  std::string text;  // a name without its backquotes
};

// Names, numbers and operators; throws Error for what is none of them. muParser would also take
// assignments and texts.
class Lexer {
 public:
  explicit Lexer(const std::string& text) : text_(text) {
    require(text.size() <= kMaxLength, "an expression of {} characters, the limit is {}",
            text.size(), kMaxLength);
  }

  std::vector<Token> all() {
    std::vector<Token> tokens;
    size_t depth = 0;
    for (auto token = next(); token; token = next()) {
      if (token->text == "(" && token->kind == Token::Kind::other) {
        require(++depth <= kMaxDepth, "{}: more than {} parentheses are open", io::show(text_),
                kMaxDepth);
        if (!tokens.empty() && tokens.back().kind == Token::Kind::name &&
            is_function(tokens.back()))
          tokens.back().kind = Token::Kind::function;
      }
      if (token->text == ")" && token->kind == Token::Kind::other && depth > 0) --depth;
      tokens.push_back(std::move(*token));
    }
    require(!tokens.empty(), "an expression is empty");
    return tokens;
  }

 private:
  bool is_function(const Token& token) const {
    return text_[token.at] != '`' &&
           std::ranges::find(kFunctions, token.text) != std::end(kFunctions);
  }

  std::optional<Token> next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    if (at_ == text_.size()) return {};
    const size_t begin = at_;
    const char c = text_[at_];
    if (c == '`') {
      const size_t end = text_.find('`', begin + 1);
      require(end != std::string::npos && end > begin + 1, "{}: a backquote does not close",
              io::show(text_));
      at_ = end + 1;
      return Token{Token::Kind::name, begin, text_.substr(begin + 1, end - begin - 1)};
    }
    if (begins_name(c)) {
      while (at_ < text_.size() && continues_name(text_[at_])) ++at_;
      return Token{Token::Kind::name, begin, text_.substr(begin, at_ - begin)};
    }
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '.') return number();
    for (const char* op : {"==", "!=", "<=", ">=", "&&", "||"})
      if (text_.compare(begin, 2, op) == 0) {
        at_ += 2;
        return Token{Token::Kind::other, begin, op};
      }
    require(std::string_view("+-*/^()<>?:,").find(c) != std::string_view::npos,
            "{}: {} cannot stand in an expression{}", io::show(text_),
            io::show(text_.substr(begin, 1)), c == '=' ? "; equality is ==" : "");
    ++at_;
    return Token{Token::Kind::other, begin, std::string(1, c)};
  }

  Token number() {
    const size_t begin = at_;
    const auto digits = [&] {
      while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
    };
    digits();
    if (at_ < text_.size() && text_[at_] == '.') ++at_;
    digits();
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      digits();
    }
    require(at_ == text_.size() || !continues_name(text_[at_]), "{}: {} is not a number",
            io::show(text_), io::show(text_.substr(begin, at_ + 1 - begin)));
    return {Token::Kind::number, begin, text_.substr(begin, at_ - begin)};
  }

  const std::string& text_;
  size_t at_ = 0;
};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

void define_functions(mu::Parser& parser) {
  parser.ClearFun();
  parser.ClearConst();
  parser.DefineConst("pi", 3.14159265358979323846);
  using Unary = double (*)(double);
  const std::pair<const char*, Unary> unary[] = {{"abs", std::fabs},
                                                 {"sqrt", std::sqrt},
                                                 {"exp", std::exp},
                                                 {"log", std::log},
                                                 {"log2", std::log2},
                                                 {"log10", std::log10},
                                                 {"sin", std::sin},
                                                 {"cos", std::cos},
                                                 {"tan", std::tan},
                                                 {"asin", std::asin},
                                                 {"acos", std::acos},
                                                 {"atan", std::atan},
                                                 {"sinh", std::sinh},
                                                 {"cosh", std::cosh},
                                                 {"tanh", std::tanh},
                                                 {"floor", std::floor},
                                                 {"ceil", std::ceil},
                                                 {"round", std::round},
                                                 {"sigmoid", sigmoid},
                                                 {"sign", [](double x) { return static_cast<double>((x > 0) - (x < 0)); }}};
  for (const auto& [name, function] : unary) parser.DefineFun(name, function);
  parser.DefineFun("atan2", static_cast<double (*)(double, double)>(std::atan2));
  using Many = double (*)(const double*, int);
  parser.DefineFun(
      "min", static_cast<Many>([](const double* x, int n) { return *std::min_element(x, x + n); }));
  parser.DefineFun(
      "max", static_cast<Many>([](const double* x, int n) { return *std::max_element(x, x + n); }));
}

}  // namespace

struct Expression::Parts {
  std::string text;
  std::vector<bool> mentioned;
  std::vector<double> values;  // what the parser reads
  mu::Parser parser;
};

Expression::Expression(std::string text, std::vector<std::string> names)
    : parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  p.text = std::move(text);
  p.mentioned.resize(names.size());
  p.values.resize(names.size());
  define_functions(p.parser);
  for (size_t i = 0; i < names.size(); ++i) p.parser.DefineVar(fmt::format("v{}", i), &p.values[i]);
  // The parser sees names of its own, so that a node may be called anything.
  std::string rewritten;
  std::vector<size_t> origin;  // of each of its characters in the text
  for (const Token& token : Lexer(p.text).all()) {
    std::string piece = token.text;
    if (token.kind == Token::Kind::name) {
      const auto found = std::ranges::find(names, token.text);
      const auto place = static_cast<size_t>(found - names.begin());
      if (found != names.end()) {
        p.mentioned[place] = true;
        piece = fmt::format("v{}", place);
      } else if (token.text != "pi") {
        std::vector<std::string> known = names;
        known.insert(known.end(), std::begin(kFunctions), std::end(kFunctions));
        fail("{}: {} is unknown: {}", io::show(p.text), io::show(token.text),
             data::choices(token.text, names.empty() ? known : names));
      }
    }
    rewritten += piece;
    if (token.kind != Token::Kind::function) rewritten += ' ';  // its ( must follow at once
    origin.resize(rewritten.size(), token.at);
  }
  try {
    p.parser.SetExpr(rewritten);
    p.parser.Eval();
    require(p.parser.GetNumResults() == 1, "{}: a comma stands outside a function",
            io::show(p.text));
  } catch (const mu::ParserError& e) {
    const auto position = static_cast<size_t>(std::max(0, static_cast<int>(e.GetPos())));
    if (e.GetCode() == mu::ecUNEXPECTED_EOF || position >= origin.size())
      fail("{}: something is missing at its end", io::show(p.text));
    fail("{}: it is not understood from {} on", io::show(p.text),
         io::show(p.text.substr(origin[position])));
  }
}

Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;

const std::string& Expression::text() const {
  return parts_->text;
}

bool Expression::mentions(size_t i) const {
  return parts_->mentioned[i];
}

double Expression::operator()(std::span<const double> values) const {
  require(values.size() == parts_->values.size(), "{} values for the {} names of {}", values.size(),
          parts_->values.size(), io::show(parts_->text));
  std::ranges::copy(values, parts_->values.begin());
  return parts_->parser.Eval();
}

std::vector<std::string> names_in(const std::string& text) {
  std::vector<std::string> names;
  for (const Token& token : Lexer(text).all())
    if (token.kind == Token::Kind::name && token.text != "pi" &&
        std::ranges::find(names, token.text) == names.end())
      names.push_back(token.text);
  return names;
}

}  // namespace diffscm::causal
