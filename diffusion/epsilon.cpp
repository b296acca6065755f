#include "diffusion/epsilon.h"

#include <algorithm>

#include "diffusion/batch.h"

namespace diffscm {

TimestepFunction TimestepFunction::recordable(Network network, Bound bound) {
  TimestepFunction f(std::move(network), std::move(bound));
  f.recordable_ = true;
  return f;
}

TimestepFunction TimestepFunction::recordable(Body body, Bound bound) {
  return recordable(std::make_shared<const Body>(std::move(body)), std::move(bound));
}

TimestepFunction TimestepFunction::with_traces() const {
  TimestepFunction f = *this;
  f.traces_ = true;
  return f;
}

TimestepFunction TimestepFunction::detached() const {
  TimestepFunction f = *this;
  f.network_ = std::make_shared<const Body>(
      [weak = std::weak_ptr(network_)](const Tensor& x, const Tensor& t, const Bound& bound) {
        const Network network = weak.lock();
        require(network != nullptr, "a network was asked that is gone");
        return (*network)(x, t, bound);
      });
  for (Tensor& b : f.bound_) b = b.clone();
  return f;
}

void TimestepFunction::rebind(const TimestepFunction& other) {
  for (size_t b = 0; b < bound_.size(); ++b) bound_[b].copy_from(other.bound_.at(b));
}

Tensor TimestepFunction::operator()(const Tensor& x, const Tensor& t) const {
  return (*this)(x, t, bound_);
}

Tensor TimestepFunction::operator()(const Tensor& x, int timestep) const {
  return (*this)(x, Tensor::full({x.dim(0)}, static_cast<float>(timestep), x.target()));
}

Tensor TimestepFunction::operator()(const Tensor& x, const Tensor& t, const Bound& bound) const {
  require(network_ != nullptr, "an empty function of images was asked");
  require(t.shape() == Shape{x.dim(0)}, "timesteps {} for images {}", to_string(t.shape()),
          to_string(x.shape()));
  for (const Tensor& b : bound)
    require(b.dim(0) == x.dim(0), "a network bound to {} images was asked about {}", b.dim(0),
            x.dim(0));
  Tensor answer = (*network_)(x, t, bound);
  require(answer && answer.shape() == x.shape(), "a network answered {} for images {}",
          answer ? to_string(answer.shape()) : "nothing", to_string(x.shape()));
  return answer;
}

TimestepFunction TimestepFunction::of(std::span<const int64_t> rows) const {
  TimestepFunction f = *this;
  for (Tensor& b : f.bound_) b = gather(b, rows);
  return f;
}

bool TimestepFunction::joins(const TimestepFunction& other) const {
  return network_ == other.network_ && bound_.size() == other.bound_.size();
}

TimestepFunction TimestepFunction::joined(std::span<const TimestepFunction> functions) {
  TimestepFunction f = functions.front();
  for (size_t b = 0; b < f.bound_.size(); ++b) {
    std::vector<Tensor> parts;
    for (const TimestepFunction& g : functions) {
      require(f.joins(g), "functions of different networks cannot be joined");
      parts.push_back(g.bound_[b]);
    }
    f.bound_[b] = concatenate(parts, parts.front().target());
  }
  return f;
}

}  // namespace diffscm
