// A model's configuration as JSON. Each configuration lists its fields once,
//
//   template <class Fields> void fields(Fields& f, VaeConfig& c) { f.count("latent", c.latent,
//   4096); }
//
// and that list serves reading, which is strict, and writing.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/io/json.h"
#include "kernels/error.h"

namespace diffscm {

// The value as a T; nothing where it is none, or only cut to fit: get() makes 4 of 4.7, and of a
// number too large takes the lowest bits.
template <class T>
std::optional<T> exactly(const nlohmann::json& json) {
  try {
    T value = json.get<T>();
    if (nlohmann::json(value) == json) return value;
  } catch (const nlohmann::json::exception&) {
  }
  return {};
}

// Reads fields and remembers which were read, so that finish() can refuse the unknown.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& source, const char* what) : source_(source), what_(what) {
    require(source.is_object(), "{} configuration is not a JSON object", what);
  }

  // Anything that reads itself from JSON.
  template <class T>
  void read(const char* name, T& field) {
    known_.insert(name);
    require(source_.contains(name), "{} configuration lacks '{}'", what_, name);
    try {
      source_.at(name).get_to(field);
    } catch (const nlohmann::json::exception&) {
      fail("{} configuration: '{}' has an unusable value {}", what_, name,
           io::dump(source_.at(name)));
    }
  }

  // An integer from `least` to `most`.
  void count(const char* name, int64_t& field, int64_t most, int64_t least = 1) {
    read(name, field);
    require(source_.at(name).is_number_integer() && field >= least && field <= most,
            "{} configuration: '{}' is {}, must be an integer from {} to {}", what_, name,
            io::dump(source_.at(name)), least, most);
  }
  // `least` to 8 integers from 1 to `most`.
  void counts(const char* name, std::vector<int64_t>& field, size_t least, int64_t most) {
    read(name, field);
    require(field.size() >= least && field.size() <= 8,
            "{} configuration: '{}' has {} entries, must have {} to 8", what_, name, field.size(),
            least);
    for (const nlohmann::json& v : source_.at(name))
      require(v.is_number_integer() && v >= 1 && v <= most,
              "{} configuration: '{}' holds {}, must be integers from 1 to {}", what_, name,
              io::dump(v), most);
  }
  // 1 to 8 multiples from 1/64 to 64. Integers are written as such.
  void multiples(const char* name, std::vector<double>& field) {
    read(name, field);
    require(!field.empty() && field.size() <= 8,
            "{} configuration: '{}' has {} entries, must have 1 to 8", what_, name, field.size());
    for (const nlohmann::json& v : source_.at(name))
      require(v.is_number() && v >= 1.0 / 64 && v <= 64,
              "{} configuration: '{}' holds {}, must be numbers from 1/64 to 64", what_, name,
              io::dump(v));
  }
  // In [0, 1).
  void rate(const char* name, double& field) {
    read(name, field);
    require(field >= 0 && field < 1, "{} configuration: '{}' is {}, must be in [0, 1)", what_, name,
            field);
  }

  // In (0, 1).
  void newer_small(const char* name, double& field) {
    if (!source_.contains(name)) return;
    read(name, field);
    require(field > 0 && field < 1, "{} configuration: '{}' is {}, must be in (0, 1)", what_, name,
            field);
  }

  // The same for entries that files of earlier versions lack: the field keeps its default.
  void newer_count(const char* name, int64_t& field, int64_t most) {
    if (source_.contains(name)) count(name, field, most);
  }
  // Or 0.
  void newer_count_or_none(const char* name, int64_t& field, int64_t most) {
    if (source_.contains(name)) count(name, field, most, 0);
  }
  void newer_counts(const char* name, std::vector<int64_t>& field, int64_t most) {
    if (source_.contains(name)) counts(name, field, 0, most);
  }
  template <class T>
  void newer(const char* name, T& field) {
    if (source_.contains(name)) read(name, field);
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

class ConfigWriter {
 public:
  explicit ConfigWriter(nlohmann::json& json) : json_(json) {}
  void count(const char* name, int64_t field, int64_t) { json_[name] = field; }
  void counts(const char* name, const std::vector<int64_t>& field, size_t, int64_t) {
    json_[name] = field;
  }
  void multiples(const char* name, const std::vector<double>& field) {
    json_[name] = nlohmann::json::array();
    for (const double m : field)
      if (m == std::floor(m))
        json_[name].push_back(static_cast<int64_t>(m));
      else
        json_[name].push_back(m);
  }
  void rate(const char* name, double field) { json_[name] = field; }
  void newer_small(const char* name, double field) { json_[name] = field; }
  void newer_count(const char* name, int64_t field, int64_t) { json_[name] = field; }
  void newer_count_or_none(const char* name, int64_t field, int64_t) { json_[name] = field; }
  void newer_counts(const char* name, const std::vector<int64_t>& field, int64_t) {
    json_[name] = field;
  }
  template <class T>
  void newer(const char* name, const T& field) {
    json_[name] = field;
  }

 private:
  nlohmann::json& json_;
};

// `what` names the kind of network in messages. Throws Error naming what is unknown, missing or out
// of range.
template <class Config>
void read_config(const nlohmann::json& source, const char* what, Config& config) {
  ConfigReader reader(source, what);
  fields(reader, config);
  reader.finish();
}
template <class Config>
void write_config(nlohmann::json& json, Config config) {
  json = nlohmann::json::object();
  ConfigWriter writer(json);
  fields(writer, config);
}

}  // namespace diffscm
