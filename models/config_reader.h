// Reading a model's configuration from JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "kernels/error.h"

namespace diffscm {

// Reads fields strictly and remembers which were read, so that finish() can refuse the unknown.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& source, const char* what) : source_(source), what_(what) {
    require(source.is_object(), "{} configuration is not a JSON object", what);
  }

  // For entries that files of earlier versions lack.
  bool has(const char* name) const { return source_.contains(name); }

  template <class T>
  void read(const char* name, T& field) {
    known_.insert(name);
    require(source_.contains(name), "{} configuration lacks '{}'", what_, name);
    try {
      source_.at(name).get_to(field);
    } catch (const nlohmann::json::exception&) {
      fail("{} configuration: '{}' has an unusable value {}", what_, name, source_.at(name).dump());
    }
  }

  void read_count(const char* name, int64_t& field, int64_t most) {
    read(name, field);
    require(source_.at(name).is_number_integer() && field >= 1 && field <= most,
            "{} configuration: '{}' is {}, must be an integer from 1 to {}", what_, name,
            source_.at(name).dump(), most);
  }

  void read_counts(const char* name, std::vector<int64_t>& field, size_t least, int64_t most) {
    read(name, field);
    require(field.size() >= least && field.size() <= 8,
            "{} configuration: '{}' has {} entries, must have {} to 8", what_, name, field.size(),
            least);
    for (const int64_t v : field)
      require(v >= 1 && v <= most, "{} configuration: '{}' holds {}, must be from 1 to {}", what_,
              name, v, most);
  }

  void read_rate(const char* name, double& field) {
    read(name, field);
    require(field >= 0 && field < 1, "{} configuration: '{}' is {}, must be in [0, 1)", what_, name,
            field);
  }

  void finish() const {
    for (const auto& [name, value] : source_.items())
      require(known_.count(name) == 1, "{} configuration: unknown entry '{}'", what_, name);
  }

 private:
  const nlohmann::json& source_;
  const char* what_;
  std::set<std::string> known_;
};

}  // namespace diffscm
