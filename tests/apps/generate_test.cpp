// diffscm generate: the manual and the completions name every command and flag that --help names.
#include <regex>
#include <set>

#include "tests/apps/commands.h"

namespace diffscm {
namespace {

std::string generated(const char* what) {
  const Result r = diffscm({"generate", what});
  EXPECT_EQ(r.code, 0) << r.err;
  return r.out;
}

std::set<std::string> flags_of_help(const Arguments& command) {
  const std::string help = diffscm(command + Arguments{"--help"}).out;
  std::set<std::string> flags;
  const std::regex flag("\n  (--[a-z-]+)");
  for (std::sregex_iterator i(help.begin(), help.end(), flag), end; i != end; ++i)
    flags.insert((*i)[1]);
  return flags;
}

// What bash offers after the words, the last of which is being typed.
std::set<std::string> completions(const std::vector<std::string>& words) {
  const fs::path script = world() / "complete.sh", answer = world() / "answer";
  std::string text = generated("bash") + "\nCOMP_WORDS=(diffscm";
  for (const std::string& word : words) text += " '" + word + "'";
  text += ")\nCOMP_CWORD=" + std::to_string(words.size()) +
          "\n_diffscm\nprintf '%s\\n' \"${COMPREPLY[@]}\" > " + answer.string() + "\n";
  testing::put(script, text);
  EXPECT_EQ(std::system(("bash -u " + script.string()).c_str()), 0);
  std::stringstream lines(testing::get(answer));
  std::set<std::string> all;
  for (std::string line; std::getline(lines, line);) all.insert(line);
  return all;
}

TEST(Generate, TheManualHasEveryFlag) {
  std::string manual = generated("man");
  EXPECT_EQ(manual.find(".TH DIFFSCM 1"), 0u);
  manual = std::regex_replace(manual, std::regex("\\\\-"), "-");
  for (const Arguments& command : {Arguments{"train", "vae"}, Arguments{"sample"}}) {
    const auto flags = flags_of_help(command);
    EXPECT_GT(flags.size(), 10u);
    for (const std::string& flag : flags)
      EXPECT_NE(manual.find("\n.B " + flag), std::string::npos) << flag;
  }
  EXPECT_EQ(manual.find("generate"), std::string::npos) << "a hidden command";
}

TEST(Generate, BashCompletesCommandsFlagsAndValues) {
  const auto commands = completions({""});
  EXPECT_TRUE(commands.count("train") && commands.count("counterfactual")) << commands.size();
  EXPECT_EQ(completions({"train", "or"}), std::set<std::string>{"oracle"});
  std::set<std::string> flags = completions({"train", "oracle", "--"});
  EXPECT_EQ(flags, flags_of_help({"train", "oracle"}));
  EXPECT_EQ(completions({"train", "oracle", "--quiet", "--precision", "b"}),
            std::set<std::string>{"bf16"});
  EXPECT_EQ(completions({"train", "oracle", "--data", "dig"}), std::set<std::string>{"digits"});
  const std::string half = world().data().substr(0, world().data().size() - 3);
  EXPECT_EQ(completions({"train", "oracle", "--data", half}),
            std::set<std::string>{world().data()});
}

TEST(Generate, ZshKnowsTheSameFlags) {
  const std::string text = generated("zsh");
  EXPECT_EQ(text.find("#compdef diffscm\n"), 0u);
  for (const std::string& flag : flags_of_help({"train", "oracle"}))
    EXPECT_NE(text.find("    '" + flag + "["), std::string::npos) << flag;
}

TEST(Generate, AnythingElseIsRefused) {
  expect_failure(diffscm({"generate", "fish"}), 2, "man, bash, zsh");
}

}  // namespace
}  // namespace diffscm
