// diffscm scm evaluate, of a graph with an image in it: its table, its page, its lines.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "apps/report/document.h"
#include "apps/scm_evaluate.h"

namespace diffscm::apps {
namespace {

std::string shown(double x, int decimals = 2) {
  return std::isfinite(x) ? fmt::format("{:.{}f}", x, decimals) : "-";
}

// Accuracy in per cent, errors in the attribute's unit.
std::string shown(const AttributeScore& a, double x) {
  return a.category && std::isfinite(x) ? fmt::format("{:.1f}%", 100 * x) : shown(x, 3);
}

std::string shown(const MeanAndDeviation& x) {
  return std::isfinite(x.mean) ? fmt::format("{:.3f} +- {:.3f}", x.mean, x.deviation) : "-";
}

const char* role_of(const AttributeScore& a) {
  return a.set ? "set" : (a.moved ? "follows" : "stays");
}

// One number of counterfactual-benchmark beside ours.
struct Compared {
  std::string name, theirs, ours;
};

std::vector<Compared> compare(const ImageVariant& variant) {
  const ImageEvaluation& e = variant.evaluation;
  const BenchmarkScores& b = *variant.benchmark;
  std::vector<Compared> all{
      {"composition, 1 cycle", shown(b.composition_1), shown(e.composition_1, 3)},
      {"composition, 10 cycles", shown(b.composition_10), shown(e.composition_10, 3)}};
  for (const BenchmarkEffectiveness& f : b.effectiveness) {
    std::string ours = "-";
    for (const ImageInterventionScore& s : e.interventions)
      for (const AttributeScore& a : s.attributes)
        if (s.node == f.set && a.node == f.node) ours = shown(a, a.score);  // the last reader's
    all.push_back({fmt::format("effectiveness do({}): {}, {}", f.set, f.node, f.metric),
                   shown(f.value), ours});
  }
  std::vector<std::string> cld, frechet;
  for (const ImageInterventionScore& s : e.interventions) {
    cld.push_back(fmt::format("{} {}", s.node, shown(s.cld.value, 3)));
    frechet.push_back(fmt::format("{} {}", s.node, shown(s.realism.value)));
  }
  all.push_back({"minimality (CLD)", shown(b.minimality), fmt::format("{}", fmt::join(cld, ", "))});
  all.push_back({"its P(S_cf <= div), P(S_f >= div)",
                 fmt::format("{}, {}", shown(b.p_target, 3), shown(b.p_factual, 3)), "-"});
  all.push_back(
      {"realism (Frechet)", shown(b.frechet), fmt::format("{}", fmt::join(frechet, ", "))});
  return all;
}

void add_distances(Document& page, const std::vector<ImageVariant>& variants) {
  page.section("Distances");
  page.paragraph(
      "Mean absolute differences in grey levels. The truth is the true counterfactual image under "
      "the same attributes, where the data come from a world that knows it; beside it stand doing "
      "nothing and a random true image with the nearest attributes. Composition is the distance of "
      "an image to itself after one and after ten round trips through its noise.");
  Table table{{{"to the factual", "how much changes", 0},
               {"to the truth", "of the counterfactual", -1},
               {"doing nothing", "of the factual image to the truth", 0},
               {"random", "of a true image with the nearest attributes to the truth", 0},
               {"composition 1", "after one round trip", -1},
               {"composition 10", "after ten", -1}},
              {}};
  for (const ImageVariant& v : variants)
    for (const ImageInterventionScore& s : v.evaluation.interventions)
      table.rows.push_back({fmt::format("{} do({})", v.name, s.node),
                            {{shown(s.distance.factual)},
                             {shown(s.distance.truth)},
                             {shown(s.distance.nothing)},
                             {shown(s.distance.random)},
                             {shown(v.evaluation.composition_1, 3)},
                             {shown(v.evaluation.composition_10, 3)}}});
  page.table(table);
}

void add_attributes(Document& page, const std::vector<ImageVariant>& variants) {
  page.section("Attributes");
  page.paragraph(
      "What is read off the counterfactual image, against what the graph says it is: the share "
      "that is right, or the mean absolute error. The floor is what reading true images gives.");
  Table table{{{"read", "of the counterfactual image", 0},
               {"floor", "of true images", 0},
               {"unchanged image", "the factual image against the same values", 0}},
              {}};
  for (const ImageVariant& v : variants)
    for (const ImageInterventionScore& s : v.evaluation.interventions)
      for (const AttributeScore& a : s.attributes)
        table.rows.push_back(
            {fmt::format("{} do({}): {}, {} ({})", v.name, s.node, a.node, role_of(a), a.reader),
             {{shown(a, a.score)}, {shown(a, a.floor)}, {shown(a, a.unchanged)}}});
  page.table(table);
}

void add_crowds(Document& page, const std::vector<ImageVariant>& variants) {
  Table table{
      {{"CLD", "counterfactual latent divergence, mean over the images", -1},
       {"of the truth", "of the true counterfactuals", 0},
       {"Frechet", "squared distance of the oracle's features to those of training images", -1},
       {"floor", "of as many true counterfactuals; where they are not known, of the factual images",
        0}},
      {}};
  for (const ImageVariant& v : variants)
    for (const ImageInterventionScore& s : v.evaluation.interventions)
      if (std::isfinite(s.cld.value) || std::isfinite(s.realism.value))
        table.rows.push_back({fmt::format("{} do({})", v.name, s.node),
                              {{shown(s.cld.value, 3)},
                               {shown(s.cld.floor, 3)},
                               {shown(s.realism.value)},
                               {shown(s.realism.floor)}}});
  if (table.rows.empty()) return;
  page.section("Minimality and realism");
  page.paragraph(
      "CLD: is an image as far from the factual one as images with the new value are, and no "
      "further than those with the old one? 0.693 is best, an unchanged image has 1.313. Numbers "
      "are compared with the tenth of the training images whose values are nearest. Both depend on "
      "the networks that judge, and compare within this page only.");
  page.table(table);
}

void add_benchmark(Document& page, const std::vector<ImageVariant>& variants) {
  if (!variants.front().benchmark) return;
  page.section("As counterfactual-benchmark computes it");
  page.paragraph(
      "The metrics of Melistas et al. 2024 as their code computes them (main at 581dbb4), on the "
      "same answers, beside ours.");
  Table table{{{"theirs", "mean +- deviation", 0}, {"ours", "as above", 0}}, {}};
  for (const ImageVariant& v : variants)
    for (const Compared& c : compare(v))
      table.rows.push_back({fmt::format("{} {}", v.name, c.name), {{c.theirs}, {c.ours}}});
  page.table(table);
  for (const std::string& note : benchmark_notes()) page.paragraph(note);
}

}  // namespace

std::string image_csv(const std::vector<ImageVariant>& variants) {
  std::string text = "variant,do,metric,value,floor\n";
  for (const ImageVariant& v : variants) {
    const auto line = [&](const std::string& node, const std::string& metric, double value,
                          double floor = std::nan("")) {
      if (std::isfinite(value))
        text += fmt::format("\"{}\",\"{}\",{},{:.9g},{}\n", v.name, node, metric, value,
                            std::isfinite(floor) ? fmt::format("{:.9g}", floor) : "");
    };
    line("", "composition_1", v.evaluation.composition_1);
    line("", "composition_10", v.evaluation.composition_10);
    for (const ImageInterventionScore& s : v.evaluation.interventions) {
      line(s.node, "l1_factual", s.distance.factual);
      line(s.node, "l1_truth", s.distance.truth);
      line(s.node, "l1_truth_of_doing_nothing", s.distance.nothing);
      line(s.node, "l1_truth_of_random_image", s.distance.random);
      line(s.node, "cld", s.cld.value, s.cld.floor);
      line(s.node, "frechet", s.realism.value, s.realism.floor);
      for (const AttributeScore& a : s.attributes)
        line(s.node, fmt::format("{}_{}_{}", a.category ? "accuracy" : "mae", a.node, a.reader),
             a.score, a.floor);
    }
    if (!v.benchmark) continue;
    const BenchmarkScores& b = *v.benchmark;
    line("", "benchmark_composition_1", b.composition_1.mean);
    line("", "benchmark_composition_10", b.composition_10.mean);
    for (const BenchmarkEffectiveness& f : b.effectiveness)
      line(f.set, fmt::format("benchmark_{}_{}", f.metric, f.node), f.value.mean);
    line("", "benchmark_minimality", b.minimality.mean);
    line("", "benchmark_frechet", b.frechet);
  }
  return text;
}

std::string image_report(const ImageScmFlags& flags, const std::vector<ImageVariant>& variants) {
  Document page("How good are these counterfactual images?");
  page.facts({{"model", flags.model}, {"data", flags.rows.data}, {"rows", flags.rows.index}});
  add_distances(page, variants);
  add_attributes(page, variants);
  add_crowds(page, variants);
  add_benchmark(page, variants);
  return page.html();
}

void print(const ImageVariant& variant) {
  const ImageEvaluation& e = variant.evaluation;
  fmt::print("{}: composition {} after 1 round trip, {} after 10; {:.2f} s an image\n",
             variant.name, shown(e.composition_1, 3), shown(e.composition_10, 3),
             e.seconds_per_image);
  for (const ImageInterventionScore& s : e.interventions) {
    fmt::print("  do({}): L1 {} to the factual, {} to the truth (doing nothing {}, random {})\n",
               s.node, shown(s.distance.factual), shown(s.distance.truth),
               shown(s.distance.nothing), shown(s.distance.random));
    for (const AttributeScore& a : s.attributes)
      fmt::print("    {:>12} {:8} {:>8} {}, floor {}, unchanged image {}\n", a.node, role_of(a),
                 shown(a, a.score), a.reader, shown(a, a.floor), shown(a, a.unchanged));
    if (std::isfinite(s.cld.value))
      fmt::print("    CLD {}, of the truth {}\n", shown(s.cld.value, 3), shown(s.cld.floor, 3));
    if (std::isfinite(s.realism.value))
      fmt::print("    Frechet distance {}, floor {}\n", shown(s.realism.value),
                 shown(s.realism.floor));
  }
  if (!variant.benchmark) return;
  fmt::print("  as counterfactual-benchmark computes it, and ours\n");
  for (const Compared& c : compare(variant))
    fmt::print("    {:40} {:>18}   {}\n", c.name, c.theirs, c.ours);
  for (const std::string& note : benchmark_notes()) fmt::print("    {}\n", note);
}

}  // namespace diffscm::apps
