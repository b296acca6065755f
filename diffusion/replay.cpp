#include "diffusion/replay.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "diffusion/batch.h"
#include "diffusion/kept.h"
#include "engine/captured_step.h"

namespace diffscm {

namespace {

// One recorded evaluation at a fixed batch size.
class Evaluation {
 public:
  // `size` images, made for x, t and bound of as many or fewer; the padding repeats the first.
  Evaluation(const TimestepFunction& f, int64_t size, const Tensor& x, const Tensor& t,
             const TimestepFunction::Bound& bound)
      : x_(padded(x, size)),
        t_(padded(t, size)),
        step_(x.target(), [this, f] { out_ = f(x_, t_, bound_); }) {
    for (const Tensor& b : bound) bound_.push_back(padded(b, size));
  }

  Tensor at(const Tensor& x, const Tensor& t, const TimestepFunction::Bound& bound) {
    const int64_t n = x.dim(0);
    x_.slice(0, n).copy_from(x);
    t_.slice(0, n).copy_from(t);
    for (size_t b = 0; b < bound.size(); ++b) bound_[b].slice(0, n).copy_from(bound[b]);
    step_.run();
    // The next evaluation overwrites out_.
    return out_.slice(0, n).clone();
  }

 private:
  static Tensor padded(const Tensor& x, int64_t size) {
    std::vector<int64_t> rows(static_cast<size_t>(size), 0);
    std::iota(rows.begin(), rows.begin() + x.dim(0), int64_t{0});
    return gather(x, rows);
  }

  Tensor x_, t_, out_;
  TimestepFunction::Bound bound_;
  CapturedStep step_;
};

// The evaluations of one function, by batch size: taken from those that are kept where there are
// such, and given back in the end.
class Evaluations {
 public:
  explicit Evaluations(TimestepFunction f) : f_(std::move(f)) {}
  ~Evaluations() {
    for (auto& [size, used] : by_size_)
      if (used.key) Kept<Evaluation>::recordings().give_back(*used.key, std::move(used.evaluation));
  }
  Evaluations(const Evaluations&) = delete;
  Evaluations& operator=(const Evaluations&) = delete;

  // Batches of up to `size` images.
  Tensor at(int64_t size, const Tensor& x, const Tensor& t, const TimestepFunction::Bound& bound) {
    auto found = by_size_.find(size);
    if (found == by_size_.end()) found = by_size_.emplace(size, obtain(size, x, t, bound)).first;
    try {
      return found->second.evaluation->at(x, t, bound);
    } catch (...) {  // what failed is not used again
      by_size_.erase(found);
      throw;
    }
  }

 private:
  struct Used {
    std::unique_ptr<Evaluation> evaluation;
    std::optional<RecordingKey> key;  // of one that can be kept
  };

  Used obtain(int64_t size, const Tensor& x, const Tensor& t,
              const TimestepFunction::Bound& bound) {
    const TimestepFunction* const functions[] = {&f_};
    if (!can_be_kept(functions, x.target()))
      return {std::make_unique<Evaluation>(f_, size, x, t, bound), std::nullopt};
    Shape shape = x.shape();
    shape[0] = size;
    RecordingKey key(functions, name_of(x.target()) + to_string(shape));
    auto kept = Kept<Evaluation>::recordings().take(key);
    if (!kept) kept = std::make_unique<Evaluation>(f_.detached(), size, x, t, bound);
    return {std::move(kept), std::move(key)};
  }

  const TimestepFunction f_;
  std::map<int64_t, Used> by_size_;
};

}  // namespace

TimestepFunction replayed(const TimestepFunction& f, Target target, int64_t largest) {
  if (!f || !f.is_recordable() || !records_steps(target)) return f;
  // Shared by the copies of the function.
  const auto evaluations = std::make_shared<Evaluations>(f);
  const auto answer = [f, largest, evaluations](const Tensor& x, const Tensor& t,
                                                const TimestepFunction::Bound& bound) {
    const int64_t n = x.dim(0);
    if (n > largest) return f(x, t, bound);
    const int64_t size =
        std::min(largest, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))));
    return evaluations->at(size, x, t, bound);
  };
  return {answer, f.bound()};
}

}  // namespace diffscm
