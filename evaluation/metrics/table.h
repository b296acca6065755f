// Every metric once: its name, what people read about it, and the function that computes it. To add
// one, write the function and its line in table.cpp: records, tables, charts and reports follow.
#pragma once

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "evaluation/metrics/cld.h"
#include "evaluation/metrics/effectiveness.h"
#include "evaluation/metrics/interpretability.h"

namespace diffscm {

// Values by the names of the table; what does not apply is left out.
using Metrics = std::map<std::string, double>;

// A batch of counterfactuals, and what the networks that judge say of each: what metrics of images
// are functions of.
struct Judgement {
  Tensor factual, image;  // [N,H,W,C] in [-1, 1]
  Tensor truth;           // the true counterfactuals, or empty
  std::vector<Cld> cld;   // [N], as are the following
  std::vector<Interpretability> interpretability;
  std::vector<Effectiveness> oracle;
  std::vector<Effectiveness> guide;  // or empty: nobody guided
};

struct Metric {
  const char* name;   // in records, summaries and CSV
  const char* title;  // column head
  const char* unit;   // "" if none
  int better;         // +1 higher, -1 lower, 0 neither
  int decimals;
  double low, high;     // no value lies outside
  const char* meaning;  // one sentence

  // One of these, or neither: then only the method that made the images knows it.
  std::vector<double> (*of_images)(const Judgement&) = nullptr;  // [N], or empty: does not apply
  double (*of_sets)(const Matrix& features, const Matrix& real) = nullptr;
};

// In the order in which tables show them.
const std::vector<Metric>& metrics();
// Throws Error naming the choices: a misspelt metric is an error, not an empty column.
const Metric& metric(const std::string& name);

// All metrics of images: [N].
std::vector<Metrics> image_metrics(const Judgement& judgement);
// All metrics of two sets of features.
Metrics set_metrics(const Matrix& features, const Matrix& real);

}  // namespace diffscm
