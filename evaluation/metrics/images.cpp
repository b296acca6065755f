#include "evaluation/metrics/images.h"

#include <cmath>

namespace diffscm {

Matrix to_matrix(const Tensor& x) {
  Matrix m(x.dim(0), x.numel() / x.dim(0));
  const std::vector<float> flat = x.to_vector();
  m.values.assign(flat.begin(), flat.end());
  return m;
}

void require_images(const Tensor& images, const char* what) {
  require(static_cast<bool>(images) && images.rank() == 4 && images.numel() > 0 &&
              images.dtype() == Dtype::f32,
          "{} is {}: give a non-empty f32 batch [N, H, W, C]", what,
          images ? to_string(images.shape()) : "empty");
  const std::vector<float> values = images.to_vector();
  const int64_t size = images.numel() / images.dim(0);
  for (size_t i = 0; i < values.size(); ++i)
    require(std::isfinite(values[i]), "{}: image {} holds {} at element {}: give finite pixels",
            what, static_cast<int64_t>(i) / size, values[i], static_cast<int64_t>(i) % size);
}

void require_pair(const Tensor& a, const Tensor& b) {
  require_images(a, "the first batch of images");
  require_images(b, "the second batch of images");
  require(a.shape() == b.shape(), "images {} cannot be compared with images {}",
          to_string(a.shape()), to_string(b.shape()));
}

void require_classes(std::span<const int64_t> labels, int64_t images, int64_t classes,
                     const char* what) {
  require(static_cast<int64_t>(labels.size()) == images, "{} {} for {} images: give one each",
          labels.size(), what, images);
  for (const int64_t label : labels)
    require(label >= 0 && label < classes, "{}: {} is outside the {} classes of the networks", what,
            label, classes);
}

}  // namespace diffscm
