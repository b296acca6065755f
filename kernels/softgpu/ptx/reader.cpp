#include "kernels/softgpu/ptx/reader.h"

#include <charconv>

#include "kernels/error.h"

namespace diffscm::softgpu::ptx {

std::optional<Space> space_of(std::string_view word) {
  if (word == ".param") return Space::param;
  if (word == ".shared") return Space::shared;
  if (word == ".global") return Space::global;
  if (word == ".const") return Space::constant;
  if (word == ".local") return Space::local;
  return {};
}

// Bytes of a value of a fundamental type: .b32 4, .pred 0; nothing for any other word.
std::optional<uint32_t> type_bytes(std::string_view word) {
  if (word == ".pred") return 0;
  for (const auto& [names, bytes] : {std::pair{".b8 .u8 .s8 ", 1u},
                                     {".b16 .u16 .s16 .f16 ", 2u},
                                     {".b32 .u32 .s32 .f32 ", 4u},
                                     {".b64 .u64 .s64 .f64 ", 8u}}) {
    const size_t at = std::string_view(names).find(word);
    if (at != std::string_view::npos && names[at] == '.' && names[at + word.size()] == ' ')
      return bytes;
  }
  return {};
}

bool Reader::take(std::string_view text) {
  if (!peek().is(text)) return false;
  next();
  return true;
}

void Reader::expect(std::string_view text) {
  if (!take(text)) unknown(fmt::format("'{}' where '{}' should stand", peek().text, text));
}

void Reader::unknown(std::string_view what) const {
  if (within_.empty())
    fail("PTX line {}: {}", peek().line, what);
  else
    fail("PTX line {}: {} (in {})", peek().line, what, within_);
}

std::string Reader::name() {
  if (peek().kind != Token::Kind::word) unknown(fmt::format("'{}' is no name", peek().text));
  return std::string(next().text);
}

Operand Reader::number() {
  Operand operand;
  const bool negative = take("-");
  std::string_view text = peek().text;
  if (peek().kind != Token::Kind::number) unknown(fmt::format("'{}' is no number", text));
  int base = 10;
  if (text.size() > 2 && text[0] == '0') {
    const char kind = text[1] | 0x20;
    if (kind == 'f') operand.number = Operand::Number::f32;
    if (kind == 'd') operand.number = Operand::Number::f64;
    if (kind == 'f' || kind == 'd' || kind == 'x') text.remove_prefix(2), base = 16;
  }
  if (base == 10 && text.size() > 1 && text[0] == '0') base = 8;
  if (text.ends_with('U') && base != 16) text.remove_suffix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), operand.bits, base);
  if (error != std::errc() || end != text.data() + text.size())
    unknown(fmt::format("'{}' is no number", peek().text));
  next();
  if (negative && operand.number != Operand::Number::integer)
    unknown("a negated hexadecimal float");
  if (negative) operand.bits = -operand.bits;
  return operand;
}

int64_t Reader::integer() {
  const Operand n = number();
  if (n.number != Operand::Number::integer) unknown("a whole number is needed");
  return static_cast<int64_t>(n.bits);
}

}  // namespace diffscm::softgpu::ptx
