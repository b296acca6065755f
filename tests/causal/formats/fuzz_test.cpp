// Texts that are almost right, from a seed: every reader must answer with success or an Error.
// tests/fuzz runs the same readers under libFuzzer.
#include "tests/causal/formats/fuzz.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/engine/io_testing.h"

namespace diffscm {
namespace {

using Texts = std::vector<std::string>;

std::string shipped(const char* name) {
  return testing::get(std::filesystem::path(DIFFSCM_GRAPHS) / name);
}

Texts seeds_of(const std::string& target) {
  if (target == "toml")
    return {shipped("flu.toml"), shipped("sprinkler.toml"),
            "[nodes.a]\nrange = [0, inf]\nlatent = true\n[nodes]\nb = { parents = [\"a\"], kind = "
            "\"image\", column = \"c\" }\n"};
  if (target == "bif")
    return {
        shipped("asia.bif"),
        "network \"n\" { property x; }\nvariable a { type discrete [3] { <7.5 \"b c\" d/e }; }\n"
        "variable b { type discrete [2] { t, f }; property p; }\nprobability (a | b) { "
        "table .1 .2 .3 .3 .6 .5; }\nprobability (b) { default 0.5, 5e-1; } // end"};
  if (target == "dot")
    return {
        "digraph \"g\" { a -> b -> {c d} [x=<<i>y</i>>]; e [states=\"x,y\", kind=binary]; // z\n}",
        "dag { bb=\"0,0\" A [exposure,pos=\"1,2\"] A -> B <- C; B <-> C U [latent] }"};
  if (target == "csv") return {"a,b\n1.5,x\n\"2\",\"y\"\r\n,\n-1e-3, x \n"};
  return {"2*x + max(y, sin(x)^2) > 1 ? -x : sigmoid(`y`)/3e-2", "x&&y||x==y"};
}

// Bytes are changed, removed, repeated, moved, and replaced by what means something to the reader.
std::string mutated(std::string text, std::mt19937& random) {
  static const char* kPieces[] = {
      "{",    "}",     "[",      "]",     "(",       ")",     "\"",
      "'",    "\n",    ",",      ";",     "|",       "->",    "<",
      "=",    "`",     "\\",     "//",    "/*",      "#",     "\0",
      "\xff", "\xc3",  "-1",     "1e999", "nan",     "inf",   "99999999999999999999",
      "yes",  "table", "states", "rows",  "parents", "nodes", "true",
      "0.5",  ".",     ":"};
  const auto draw = [&](size_t n) {
    return static_cast<size_t>(random() % std::max<size_t>(n, 1));
  };
  for (size_t times = 1 + draw(4); times > 0; --times) {
    const size_t at = draw(text.size()), length = std::min(draw(20), text.size() - at);
    switch (draw(6)) {
      case 0:
        text.insert(at, kPieces[draw(std::size(kPieces))]);
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(draw(text.size()), text.substr(at, length));
        break;
      case 3:
        if (!text.empty()) text[at] = static_cast<char>(random());
        break;
      case 4:
        text.resize(at);
        break;
      default:
        text.replace(at, length, kPieces[draw(std::size(kPieces))]);
    }
  }
  return text;
}

TEST(Fuzz, readers_survive_texts_that_are_almost_right) {
  for (const testing::FuzzTarget& target : testing::kFuzzTargets) {
    std::mt19937 random(2026);
    int succeeded = 0, refused = 0;
    for (const std::string& seed : seeds_of(target.name)) {
      ASSERT_TRUE(testing::survives(target, seed)) << target.name;
      for (int n = 0; n < 1500; ++n) {
        const std::string text = mutated(seed, random);
        SCOPED_TRACE(std::string(target.name) + ": " + io::show(text));
        ASSERT_NO_THROW(++(testing::survives(target, text) ? succeeded : refused));
      }
    }
    // Both ways are trodden.
    EXPECT_GT(succeeded, 50) << target.name;
    EXPECT_GT(refused, 50) << target.name;
  }
}

}  // namespace
}  // namespace diffscm
