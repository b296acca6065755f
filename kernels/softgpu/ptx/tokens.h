// The words of PTX text.
#pragma once

#include <string_view>
#include <vector>

namespace diffscm::softgpu {

struct Token {
  enum class Kind {
    word,    // .reg  ld.global.v4.f32  %r12  %tid.x  $L__BB0_3  _ZN7diffscm...
    number,  // 12  0x1F  9.0  0f3F800000  0d3FF0000000000000
    string,  // "file.cu", without the quotes
    mark,    // one of , ; : | @ ! + - = ( ) [ ] { } < >
    end
  };
  Kind kind = Kind::end;
  std::string_view text;  // of the module's text
  int line = 0;

  bool is(std::string_view t) const { return text == t && kind != Kind::string; }
};

// Splits the text, without its comments; the last token is of kind end. Throws Error for a
// character that PTX does not have and for a comment or string that does not end.
std::vector<Token> tokenize(std::string_view ptx);

}  // namespace diffscm::softgpu
