// diffscm generate man|bash|zsh: the manual and the completions, from the flags' one list. Hidden:
// for packagers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/command.h"

namespace diffscm::apps {
namespace {

std::vector<const CLI::App*> children(const CLI::App& command) {
  // A command without a group is hidden.
  return command.get_subcommands([](const CLI::App* c) { return !c->get_group().empty(); });
}

// Calls visit(command) for each command that does something, in order.
void each_leaf(const CLI::App& command, const std::function<void(const CLI::App&)>& visit) {
  const auto below = children(command);
  for (const CLI::App* child : below) each_leaf(*child, visit);
  if (below.empty()) visit(command);
}

// "train diffusion"; empty for the program itself.
std::string path_of(const CLI::App& command) {
  if (command.get_parent() == nullptr) return {};
  const std::string above = path_of(*command.get_parent());
  return above.empty() ? command.get_name() : above + " " + command.get_name();
}

std::vector<const CLI::Option*> flags_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* o) { return o->get_name() != "--help"; });
}

bool takes_value(const CLI::Option& flag) {
  return flag.get_items_expected_max() > 0;
}

// The words of a value's name, "mnist|digits|FILE", and whether a file or folder does too.
struct Values {
  std::vector<std::string> words;
  bool files = false;
};
Values values_of(const CLI::Option& flag) {
  Values values;
  const std::string name = flag.get_type_name();
  for (size_t begin = 0, bar = 0; bar != std::string::npos; begin = bar + 1) {
    bar = name.find('|', begin);
    const std::string word = name.substr(begin, bar - begin);
    if (word == "FILE" || word == "DIR")
      values.files = true;
    else if (std::any_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      values.words.push_back(word);
  }
  return values;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

std::string roff(const std::string& text) {
  const std::string safe = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
  return safe.starts_with('.') || safe.starts_with('\'') ? "\\&" + safe : safe;
}

std::string roff_flag(const CLI::Option& flag) {
  std::string name = ".TP\n.B " + roff(flag.get_name());
  if (takes_value(flag)) name += " \\fI" + roff(flag.get_type_name()) + "\\fR";
  std::string help = flag.get_description();
  if (flag.get_required()) help += " (required)";
  if (takes_value(flag) && !flag.get_default_str().empty())
    help += fmt::format(" (default: {})", flag.get_default_str());
  return name + "\n" + roff(help) + "\n";
}

std::string manual(const CLI::App& program, Common& common) {
  std::string text = fmt::format(
      ".TH DIFFSCM 1 \"\" \"diffscm {}\" \"User Commands\"\n"
      ".SH NAME\ndiffscm \\- counterfactual images by diffusion causal models\n"
      ".SH SYNOPSIS\n.B diffscm\n\\fICOMMAND\\fR [\\fIFLAGS\\fR]\n"
      ".SH COMMANDS\n",
      DIFFSCM_VERSION);
  std::vector<std::string> shared;
  common.visit([&](const std::string& name, const FlagVariable&, const std::string&,
                   const FlagTraits& = {}) { shared.push_back("--" + name); });
  std::string shared_flags;
  each_leaf(program, [&](const CLI::App& command) {
    text += fmt::format(".SS diffscm {}\n{}.\n", path_of(command), roff(command.get_description()));
    shared_flags.clear();
    for (const CLI::Option* flag : flags_of(command)) {
      const bool own = std::ranges::count(shared, flag->get_name()) == 0;
      (own ? text : shared_flags) += roff_flag(*flag);
    }
  });
  return text + ".SH FLAGS OF EVERY COMMAND\n" + shared_flags +
         ".SH EXIT STATUS\n0 success, 1 the work failed, 2 the command line is wrong, 130 stopped "
         "on request.\n"
         ".SH ENVIRONMENT\n.TP\n.B DIFFSCM_DATA\nthe folder that holds MNIST\n"
         ".TP\n.B DIFFSCM_OFFLINE\nset: nothing is downloaded\n";
}

// Calls visit(command) for the program and every command below it.
void each_command(const CLI::App& command, const std::function<void(const CLI::App&)>& visit) {
  visit(command);
  for (const CLI::App* child : children(command)) each_command(*child, visit);
}

// Two tables, COMMAND -> words and "COMMAND --flag" -> candidates, and the function that reads
// them.
std::string bash(const CLI::App& program) {
  std::string offers, values;
  each_command(program, [&](const CLI::App& command) {
    const std::string path = path_of(command), key = path.empty() ? "diffscm" : "diffscm " + path;
    std::vector<std::string> words;
    for (const CLI::App* child : children(command)) words.push_back(child->get_name());
    if (words.empty())
      for (const CLI::Option* flag : flags_of(command)) {
        const Values v = values_of(*flag);
        const std::string candidates =
            fmt::format("{}{}", fmt::join(v.words, " "), v.files ? " FILE" : "");
        if (flag->get_positional()) {
          words.push_back(candidates);
          continue;
        }
        words.push_back(flag->get_name());
        if (takes_value(*flag))
          values += fmt::format("  ['{} {}']='{}'\n", key, flag->get_name(), candidates);
      }
    offers += fmt::format("  ['{}']='{}'\n", key, fmt::join(words, " "));
  });
  return "# bash completion for diffscm, made by `diffscm generate bash`\n"
         "declare -gA _diffscm_offers=(\n" +
         offers + ")\ndeclare -gA _diffscm_values=(\n" + values +
         R"()
_diffscm() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=diffscm i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    local longer="$command ${COMP_WORDS[i]}"
    [[ -n ${_diffscm_offers[$longer]+known} ]] || break
    command=$longer
  done
  local words=${_diffscm_offers[$command]}
  if [[ -n ${_diffscm_values[$command $previous]+known} ]]; then
    words=${_diffscm_values[$command $previous]}
  fi
  COMPREPLY=($(compgen -W "${words//FILE/}" -- "$current"))
  if [[ " $words" == *" FILE"* ]]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$current"))
  fi
}
complete -F _diffscm diffscm
)";
}

std::string zsh_text(std::string text) {
  for (const char* special : {"\\", "[", "]", ":"})
    text = replaced(text, special, std::string("\\") + special);
  return replaced(text, "'", "'\\''");
}

std::string zsh_values(const CLI::Option& flag) {
  const Values v = values_of(flag);
  const std::string words = fmt::format("{}", fmt::join(v.words, " "));
  const std::string name = zsh_text(flag.get_type_name());
  if (v.files && !v.words.empty())
    return fmt::format("{0}:_alternative \"words:{0}:({1})\" \"files:file:_files\"", name, words);
  if (v.files) return name + ":_files";
  return v.words.empty() ? name + ": " : fmt::format("{}:({})", name, words);
}

std::string zsh_function(const CLI::App& command) {
  const std::string path = path_of(command),
                    name = "_diffscm" + (path.empty() ? "" : "_" + replaced(path, " ", "_"));
  std::string body;
  const auto below = children(command);
  if (below.empty()) {
    body = "  _arguments";
    for (const CLI::Option* flag : flags_of(command)) {
      if (flag->get_positional())
        body += fmt::format(" \\\n    '1:{}'", zsh_values(*flag));
      else
        body +=
            fmt::format(" \\\n    '{}[{}]{}'", flag->get_name(), zsh_text(flag->get_description()),
                        takes_value(*flag) ? ":" + zsh_values(*flag) : "");
    }
    return fmt::format("{}() {{\n{}\n}}\n", name, body);
  }
  std::string names, cases;
  for (const CLI::App* child : below) {
    names += fmt::format("    '{}:{}'\n", child->get_name(), zsh_text(child->get_description()));
    cases += fmt::format("    {0}) {1}_{0} ;;\n", child->get_name(), name);
  }
  return fmt::format(
      "{}() {{\n  local context state line\n  local -a commands=(\n{}  )\n"
      "  _arguments -C '1: :->command' '*:: :->rest'\n"
      "  if [[ $state == command ]]; then\n    _describe command commands\n    return\n  fi\n"
      "  case $line[1] in\n{}  esac\n}}\n",
      name, names, cases);
}

std::string zsh(const CLI::App& program) {
  std::string text = "#compdef diffscm\n# made by `diffscm generate zsh`\n";
  each_command(program, [&](const CLI::App& command) { text += zsh_function(command); });
  return text + "_diffscm \"$@\"\n";
}

struct Flags {
  std::string what;
  template <class V>
  void visit(V&& flag) {
    flag("what", &what, "what to print",
         {.required = true, .positional = true, .choices = {"man", "bash", "zsh"}});
  }
};

}  // namespace

void add_generate(CLI::App& app, Common& common) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command = add_subcommand(app, "generate", "Print the manual or a shell's completions",
                                     [&app, &common, flags] {
                                       fmt::print("{}", flags->what == "man" ? manual(app, common)
                                                        : flags->what == "bash" ? bash(app)
                                                                                : zsh(app));
                                     });
  command.group("");
  flags->visit(FlagDeclarer(command));
}

}  // namespace diffscm::apps
