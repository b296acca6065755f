#include "training/conditions.h"

#include <cmath>
#include <limits>

#include "kernels/random.h"

namespace diffscm {
namespace {

size_t position(const data::Dataset& dataset, const std::string& name) {
  return static_cast<size_t>(&data::find_attribute(dataset.attributes, name) -
                             dataset.attributes.data());
}

}  // namespace

std::vector<Condition> conditions_of(const data::Dataset& dataset,
                                     std::span<const std::string> names) {
  std::vector<Condition> conditions;
  for (const std::string& name : names) {
    const size_t a = position(dataset, name);
    const data::Attribute& attribute = dataset.attributes[a];
    Condition c{.name = attribute.name, .classes = static_cast<int64_t>(attribute.states.size())};
    if (!c.is_category()) {
      double sum = 0, squares = 0;
      for (const double v : dataset.values[a]) sum += v;
      c.mean = sum / static_cast<double>(dataset.size());
      for (const double v : dataset.values[a]) squares += (v - c.mean) * (v - c.mean);
      c.deviation = std::sqrt(squares / static_cast<double>(dataset.size()));
      require(c.deviation > 0, "{}: '{}' is {} for every image: it tells the network nothing",
              dataset.name, c.name, c.mean);
    }
    conditions.push_back(std::move(c));
  }
  return conditions;
}

std::vector<double> condition_values(std::span<const Condition> conditions,
                                     const data::Dataset& dataset, std::span<const int64_t> index) {
  std::vector<size_t> columns;
  for (const Condition& c : conditions) columns.push_back(position(dataset, c.name));
  std::vector<double> values;
  values.reserve(index.size() * columns.size());
  for (const int64_t i : index)
    for (const size_t a : columns) values.push_back(dataset.values[a].at(static_cast<size_t>(i)));
  return values;
}

void forget(std::vector<double>& values, size_t conditions, double drop, uint64_t seed,
            int64_t step) {
  const kernels::RandomKey key{seed, kernels::Purpose::condition, static_cast<uint32_t>(step)};
  for (size_t i = 0; i * conditions < values.size(); ++i)
    if (kernels::philox(key, i, 0).word[0] * 0x1p-32 < drop)
      std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(i * conditions), conditions,
                  std::numeric_limits<double>::quiet_NaN());
}

}  // namespace diffscm
