#include "kernels/softgpu/ptx/tokens.h"

#include <algorithm>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%' ||
         c == '.';
}
bool continues_word(char c) {
  return starts_word(c) || is_digit(c);
}

}  // namespace

std::vector<Token> tokenize(std::string_view ptx) {
  std::vector<Token> tokens;
  int line = 1;
  size_t at = 0;
  const auto peek = [&](size_t ahead) { return at + ahead < ptx.size() ? ptx[at + ahead] : '\0'; };
  const auto push = [&](Token::Kind kind, size_t length) {
    tokens.push_back({kind, ptx.substr(at, length), line});
    at += length;
  };
  while (at < ptx.size()) {
    const char c = ptx[at];
    if (c == '\n') {
      ++line, ++at;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
      ++at;
    } else if (c == '/' && peek(1) == '/') {
      at = std::min(ptx.find('\n', at), ptx.size());
    } else if (c == '/' && peek(1) == '*') {
      const size_t end = ptx.find("*/", at + 2);
      require(end != ptx.npos, "PTX line {}: a comment that does not end", line);
      for (; at < end + 2; ++at) line += ptx[at] == '\n';
    } else if (c == '"') {
      const size_t end = ptx.find('"', at + 1);
      require(end != ptx.npos, "PTX line {}: a string that does not end", line);
      tokens.push_back({Token::Kind::string, ptx.substr(at + 1, end - at - 1), line});
      at = end + 1;
    } else if (is_digit(c)) {
      size_t length = 1;
      while (continues_word(peek(length))) ++length;
      push(Token::Kind::number, length);
    } else if (starts_word(c)) {
      size_t length = 1;
      // A double colon is part of a modifier (.L2::128B), a single one ends a label.
      while (continues_word(peek(length)) || (peek(length) == ':' && peek(length + 1) == ':'))
        length += peek(length) == ':' ? 2 : 1;
      push(Token::Kind::word, length);
    } else if (std::string_view(",;:|@!+-=()[]{}<>").find(c) != std::string_view::npos) {
      push(Token::Kind::mark, 1);
    } else {
      fail("PTX line {}: the character '{}' has no meaning", line, c);
    }
  }
  tokens.push_back({Token::Kind::end, {}, line});
  return tokens;
}

}  // namespace diffscm::softgpu
