#include "causal/formats/bif.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "causal/formats/words.h"
#include "causal/mechanisms/table.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

constexpr double kNoted = 1e-6, kRefused = 1e-3;
constexpr size_t kMaxEntries = size_t{1} << 24;

class BifReader {
 public:
  BifReader(std::string_view text, std::string_view where)
      : words_(split_words(text, where, {.marks = "{}()[],;|"}), where), where_(where) {}

  GraphFile read() {
    std::string name;
    while (!words_.at_end()) {
      const Word word = words_.next();
      if (word.is("network")) {
        name = read_network();
      } else if (word.is("variable")) {
        read_variable();
      } else if (word.is("probability")) {
        read_probability();
      } else {
        words_.fail_at(word, "{} where network, variable or probability should be",
                       io::show(word.text));
      }
    }
    for (const Node& node : nodes_)
      require(!node.mechanism.name.empty(), "{}: line {}: variable {} has no probability", where_,
              node.line, io::show(node.name()));
    if (name == "unknown") name.clear();
    try {
      return {Graph(std::move(nodes_), name), std::move(notes_)};
    } catch (const Error& e) {
      fail("{}: {}", where_, e.what());
    }
  }

 private:
  std::string read_network() {
    const std::string name = words_.peek().is("{") ? "" : words_.next().text;
    words_.expect("{");
    while (!words_.take("}")) skip_statement();
    return name;
  }

  void skip_statement() {
    while (!words_.next().is(";")) {
    }
  }

  void read_variable() {
    const Word name = words_.next();
    Node node{.attribute = {.name = name.text}, .column = name.text, .line = name.line};
    if (!places_.emplace(name.text, nodes_.size()).second)
      words_.fail_at(name, "the variable {} is declared twice", io::show(name.text));
    words_.expect("{");
    while (!words_.take("}")) {
      if (!words_.take("type")) {
        skip_statement();
        continue;
      }
      words_.expect("discrete");
      words_.expect("[");
      const Word count = words_.next();
      words_.expect("]");
      words_.expect("{");
      node.attribute.states = list("}");
      words_.expect(";");
      if (count.text != std::to_string(node.attribute.states.size()))
        words_.fail_at(count, "variable {} has {} states, not {}", io::show(name.text),
                       node.attribute.states.size(), io::show(count.text));
    }
    if (node.attribute.states.empty())
      words_.fail_at(name, "variable {} has no states", io::show(name.text));
    node.kind = node.attribute.states.size() == 2 ? NodeKind::binary : NodeKind::categorical;
    nodes_.push_back(std::move(node));
  }

  // Words up to `end`, which is taken too; commas are blanks.
  std::vector<std::string> list(std::string_view end) {
    std::vector<std::string> texts;
    while (!words_.take(end)) {
      const Word word = words_.next();
      if (word.is(",")) continue;
      if (!word.quoted && word.text.size() == 1 &&
          std::string_view("{}()[];|").find(word.text[0]) != std::string_view::npos)
        words_.fail_at(word, "{} where {} should be", io::show(word.text), io::show(end));
      texts.push_back(word.text);
    }
    return texts;
  }

  Node& known(const Word& word) {
    const auto found = places_.find(word.text);
    if (found != places_.end()) return nodes_[found->second];
    std::vector<std::string> names;
    for (const auto& [name, place] : places_) names.push_back(name);
    words_.fail_at(word, "there is no variable {}: {}", io::show(word.text),
                   names.empty() ? "declare it before" : data::choices(word.text, names));
  }

  // P, P, ..;
  std::vector<double> numbers() {
    std::vector<double> values;
    while (!words_.take(";")) {
      const Word word = words_.next();
      if (word.is(",")) continue;
      double value = 0;
      const char* end = word.text.data() + word.text.size();
      const auto [stop, error] = std::from_chars(word.text.data(), end, value);
      if (error != std::errc() || stop != end || !(value >= 0))
        words_.fail_at(word, "{} is not a probability", io::show(word.text));
      values.push_back(value);
    }
    return values;
  }

  void read_probability() {
    words_.expect("(");
    const Word name = words_.next();
    Node& node = known(name);
    if (!node.mechanism.name.empty())
      words_.fail_at(name, "{} has a probability twice", io::show(name.text));
    std::vector<const data::Attribute*> parents;
    size_t combinations = 1;
    const size_t states = node.attribute.states.size();
    words_.take("|");
    while (!words_.take(")")) {
      const Word word = words_.next();
      if (word.is(",")) continue;
      node.parents.push_back(word.text);
      parents.push_back(&known(word).attribute);
      combinations *= parents.back()->states.size();
      if (combinations * states > kMaxEntries)
        words_.fail_at(word, "the table of {} has more than {} entries", io::show(name.text),
                       kMaxEntries);
    }
    std::vector<std::vector<double>> rows(combinations);
    std::vector<double> otherwise;
    words_.expect("{");
    while (!words_.take("}")) {
      const Word word = words_.next();
      if (word.is("table")) {
        read_table(word, rows, states);
      } else if (word.is("default")) {
        otherwise = checked(word, numbers(), states);
      } else if (word.is("(")) {
        const size_t at = combination(word, parents);
        if (!rows[at].empty()) words_.fail_at(word, "{} has this row twice", io::show(name.text));
        rows[at] = checked(word, numbers(), states);
      } else if (word.is("property")) {
        skip_statement();
      } else {
        words_.fail_at(word, "{} where table, default or a row (STATE, ..) should be",
                       io::show(word.text));
      }
    }
    node.mechanism = {"table", {{"rows", to_rows(name, parents, rows, otherwise)}}};
  }

  // (STATE, ..), its bracket taken, as the place of the row.
  size_t combination(const Word& word, const std::vector<const data::Attribute*>& parents) {
    const std::vector<std::string> names = list(")");
    if (names.size() != parents.size())
      words_.fail_at(word, "a row of {} states for {} parents", names.size(), parents.size());
    size_t at = 0;
    for (size_t p = 0; p < parents.size(); ++p) try {
        at = at * parents[p]->states.size() + static_cast<size_t>(parents[p]->parse(names[p]));
      } catch (const Error& e) {
        words_.fail_at(word, "{}", e.what());
      }
    return at;
  }

  void read_table(const Word& word, std::vector<std::vector<double>>& rows, size_t states) {
    const std::vector<double> all = numbers();
    if (all.size() != rows.size() * states)
      words_.fail_at(word, "a table of {} probabilities, not {}", all.size(), rows.size() * states);
    for (size_t c = 0; c < rows.size(); ++c) {
      std::vector<double> row(states);
      for (size_t k = 0; k < states; ++k) row[k] = all[k * rows.size() + c];
      rows[c] = checked(word, std::move(row), states);
    }
  }

  std::vector<double> checked(const Word& word, std::vector<double> row, size_t states) {
    if (row.size() != states)
      words_.fail_at(word, "a row of {} probabilities for {} states", row.size(), states);
    const double off = normalise(row, fmt::format("{}: line {}", where_, word.line), kRefused);
    if (off > kNoted)
      notes_.push_back(fmt::format(
          "line {}: probabilities that sum to 1 within {:.1g} were made to", word.line, off));
    return row;
  }

  json to_rows(const Word& name, const std::vector<const data::Attribute*>& parents,
               const std::vector<std::vector<double>>& rows, const std::vector<double>& otherwise) {
    json all = json::array();
    std::vector<size_t> state(parents.size());
    for (const std::vector<double>& given : rows) {
      const std::vector<double>& row = given.empty() ? otherwise : given;
      json entry = json::array();
      std::string shown;
      for (size_t p = 0; p < parents.size(); ++p) {
        entry.push_back(parents[p]->states[state[p]]);
        shown += (p == 0 ? "" : ", ") + parents[p]->states[state[p]];
      }
      if (row.empty()) words_.fail_at(name, "{} has no row for ({})", io::show(name.text), shown);
      for (const double x : row) entry.push_back(x);
      all.push_back(std::move(entry));
      for (size_t p = parents.size(); p-- > 0;) {
        if (++state[p] < parents[p]->states.size()) break;
        state[p] = 0;
      }
    }
    return all;
  }

  WordReader words_;
  std::string_view where_;
  std::vector<Node> nodes_;
  std::map<std::string, size_t> places_;
  std::vector<std::string> notes_;
};

// A word of its own as it is, else in quotes.
std::string bif_name(const std::string& name) {
  const bool plain = !name.empty() &&
                     name.find_first_of("{}()[],;|\"\\ \t\r\n\v\f") == std::string::npos &&
                     name.find("//") == std::string::npos && name.find("/*") == std::string::npos;
  if (plain) return name;
  std::string text = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}

std::string bif_names(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) {
    if (!list.empty()) list += ", ";
    list += bif_name(name);
  }
  return list;
}

}  // namespace

GraphFile parse_bif(std::string_view text, std::string_view where) {
  return BifReader(text, where).read();
}

std::string to_bif(const Graph& graph) {
  std::string text =
      fmt::format("network {} {{\n}}\n", graph.name().empty() ? "unknown" : bif_name(graph.name()));
  for (const Node& node : graph.nodes())
    text +=
        fmt::format("variable {} {{\n  type discrete [ {} ] {{ {} }};\n}}\n", bif_name(node.name()),
                    node.attribute.states.size(), bif_names(node.attribute.states));
  for (size_t i = 0; i < graph.size(); ++i) {
    const Node& node = graph[i];
    require(node.is_discrete() && node.mechanism.name == "table",
            "BIF holds discrete nodes with tables: {} is {} and has {}", io::show(node.name()),
            name_of(node.kind), node.mechanism.name.empty() ? "no mechanism" : node.mechanism.name);
    const TableMechanism table(role_of(graph, i));
    const size_t states = node.attribute.states.size();
    const std::vector<double>& p = table.probabilities();
    text += fmt::format("probability ( {}{}{} ) {{\n", bif_name(node.name()),
                        node.parents.empty() ? "" : " | ", bif_names(node.parents));
    for (size_t c = 0; c * states < p.size(); ++c) {
      std::vector<std::string> given;
      for (size_t k = node.parents.size(), rest = c; k-- > 0;) {
        const auto& of = graph[graph.parents(i)[k]].attribute.states;
        given.insert(given.begin(), of[rest % of.size()]);
        rest /= of.size();
      }
      text += given.empty() ? "  table " : fmt::format("  ({}) ", bif_names(given));
      for (size_t k = 0; k < states; ++k)
        text += fmt::format("{}{}", k == 0 ? "" : ", ", p[c * states + k]);
      text += ";\n";
    }
    text += "}\n";
  }
  return text;
}

}  // namespace diffscm::causal
