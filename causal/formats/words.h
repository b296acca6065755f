// The words of a text that a format is made of, with the lines they stand in.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {

struct Word {
  std::string text;     // without quotes
  int line = 0;         // 0: the end of the file
  bool quoted = false;  // so that "}" is a name
  bool is(std::string_view other) const { return !quoted && line > 0 && text == other; }
  bool is_end() const { return line == 0; }
};

struct WordRules {
  std::string_view marks;                  // each a word of its own
  std::vector<std::string_view> arrows{};  // longer words, wherever they stand
  bool hash_comments = false;              // lines that begin with #
  bool angle_quotes = false;               // <b>text</b>, balanced, is one quoted word
};

// Words end at blanks, marks, arrows, quotes and comments (// and /* */). Between double quotes a
// backslash keeps a quote from ending the word. Throws Error naming `where` and the line of a quote
// or comment that does not end.
std::vector<Word> split_words(std::string_view text, std::string_view where,
                              const WordRules& rules);

// Goes through the words of a file.
class WordReader {
 public:
  WordReader(std::vector<Word> words, std::string_view where)
      : words_(std::move(words)), where_(where) {}

  bool at_end() const { return at_ == words_.size(); }
  const Word& peek() const { return at_end() ? end_ : words_[at_]; }
  const Word& next() {
    require(!at_end(), "{} ends in the middle of a statement", where_);
    return words_[at_++];
  }
  bool take(std::string_view text) {
    if (!peek().is(text)) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view text) {
    if (take(text)) return;
    fail_at(peek(), "{} where {} should be",
            peek().is_end() ? "the file ends" : io::show(peek().text), io::show(text));
  }
  template <class... A>
  [[noreturn]] void fail_at(const Word& word, fmt::format_string<A...> format, A&&... args) const {
    const std::string message = fmt::format(format, std::forward<A>(args)...);
    if (word.is_end()) fail("{}: {}", where_, message);
    fail("{}: line {}: {}", where_, word.line, message);
  }

 private:
  std::vector<Word> words_;
  std::string_view where_;
  size_t at_ = 0;
  Word end_;
};

}  // namespace diffscm::causal
