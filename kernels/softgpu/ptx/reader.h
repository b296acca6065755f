// PTX word by word: what may come next is taken, or an error says what stands there, and where.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/softgpu/ptx/syntax.h"
#include "kernels/softgpu/ptx/tokens.h"

namespace diffscm::softgpu::ptx {

std::optional<Space> space_of(std::string_view word);
// Bytes of a value of a fundamental type: .b32 4, .pred 0; nothing for any other word.
std::optional<uint32_t> type_bytes(std::string_view word);

class Reader {
 public:
  explicit Reader(std::string_view ptx) : tokens_(tokenize(ptx)) {}

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& next() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  // Goes on if that is what comes.
  bool take(std::string_view text);
  // These throw Error where something else comes.
  void expect(std::string_view text);
  std::string name();
  Operand number();  // 12, -3, 0x1F, 12U, 0f3F800000, 0d3FF0000000000000
  int64_t integer();

  [[noreturn]] void unknown(std::string_view what) const;

 protected:
  std::string within_;  // the function that is read, for messages

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace diffscm::softgpu::ptx
