#include "diffusion/in_parts.h"

#include <algorithm>

#include "diffusion/batch.h"

namespace diffscm {

TimestepFunction in_parts(const TimestepFunction& f, int64_t images) {
  require(images >= 1, "{} images at a time: give at least 1", images);
  return {[network = f.network(), images](const Tensor& x, const Tensor& t,
                                          const TimestepFunction::Bound& bound) {
            const int64_t n = x.dim(0);
            if (n <= images) return (*network)(x, t, bound);
            std::vector<Tensor> answers;
            for (int64_t first = 0; first < n; first += images) {
              const int64_t last = std::min(n, first + images);
              TimestepFunction::Bound part;
              for (const Tensor& b : bound) part.push_back(b.slice(first, last));
              answers.push_back((*network)(x.slice(first, last), t.slice(first, last), part));
            }
            return concatenate(answers, x.target());
          },
          f.bound()};
}

}  // namespace diffscm
