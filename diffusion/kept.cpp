#include "diffusion/kept.h"

#include <fmt/format.h>

#include "engine/captured_step.h"

namespace diffscm {

RecordingKey::RecordingKey(std::span<const TimestepFunction* const> functions, std::string rest)
    : rest_(std::move(rest)) {
  for (const TimestepFunction* f : functions) {
    networks_.push_back(f->network());
    rest_ += ";";
    for (const Tensor& b : f->bound()) {
      Shape of_image = b.shape();
      of_image.erase(of_image.begin());
      rest_ += fmt::format(" {}{}", to_string(of_image), name_of(b.dtype()));
    }
  }
}

bool RecordingKey::operator==(const RecordingKey& other) const {
  const auto same = [](const auto& a, const auto& b) {
    return !a.owner_before(b) && !b.owner_before(a);
  };
  return rest_ == other.rest_ && std::equal(networks_.begin(), networks_.end(),
                                            other.networks_.begin(), other.networks_.end(), same);
}

bool RecordingKey::is_expired() const {
  return std::any_of(networks_.begin(), networks_.end(), [](const auto& n) { return n.expired(); });
}

bool can_be_kept(std::span<const TimestepFunction* const> functions, Target target) {
  return records_steps(target) && step_scope() == nullptr &&
         std::all_of(functions.begin(), functions.end(), [](const TimestepFunction* f) {
           return f->is_recordable() && !f->leaves_traces();
         });
}

}  // namespace diffscm
