#include "causal/formats/words.h"

#include <algorithm>
#include <cctype>

namespace diffscm::causal {

std::vector<Word> split_words(std::string_view text, std::string_view where,
                              const WordRules& rules) {
  std::vector<Word> words;
  int line = 1;
  std::string open;  // the word that is being read
  const auto close = [&] {
    if (!open.empty()) words.push_back({std::move(open), line});
    open.clear();
  };
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const char c = rest[0];
    const auto arrow =
        std::ranges::find_if(rules.arrows, [&](std::string_view a) { return rest.starts_with(a); });
    if (std::isspace(static_cast<unsigned char>(c))) {
      close();
      line += c == '\n';
      ++at;
    } else if (rest.starts_with("//") ||
               (rules.hash_comments && c == '#' && (at == 0 || text[at - 1] == '\n'))) {
      close();
      at += std::min(rest.find('\n'), rest.size());
    } else if (rest.starts_with("/*")) {
      close();
      const size_t length = rest.find("*/", 2);
      require(length != std::string_view::npos, "{}: the comment in line {} does not end", where,
              line);
      line += static_cast<int>(std::ranges::count(rest.substr(0, length), '\n'));
      at += length + 2;
    } else if (c == '"') {
      close();
      Word word{"", line, true};
      for (++at;; ++at) {
        require(at < text.size(), "{}: the quote in line {} does not end", where, word.line);
        if (text[at] == '"') break;
        if (text[at] == '\\' && at + 1 < text.size() &&
            (text[at + 1] == '"' || text[at + 1] == '\\'))
          ++at;
        line += text[at] == '\n';
        word.text += text[at];
      }
      ++at;
      words.push_back(std::move(word));
    } else if (arrow != rules.arrows.end()) {
      close();
      words.push_back({std::string(*arrow), line});
      at += arrow->size();
    } else if (rules.angle_quotes && c == '<') {
      close();
      size_t depth = 0, length = 0;
      do {
        require(length < rest.size(), "{}: the < in line {} does not close", where, line);
        depth += rest[length] == '<';
        depth -= rest[length] == '>';
      } while (++length, depth > 0);
      words.push_back({std::string(rest.substr(1, length - 2)), line, true});
      line += static_cast<int>(std::ranges::count(rest.substr(0, length), '\n'));
      at += length;
    } else if (rules.marks.find(c) != std::string_view::npos) {
      close();
      words.push_back({std::string(1, c), line});
      ++at;
    } else {
      open += c;
      ++at;
    }
  }
  close();
  return words;
}

}  // namespace diffscm::causal
