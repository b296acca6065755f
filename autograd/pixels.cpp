// What a vector per sample has to do with the pixels of its image, and nearest neighbours. All are
// made of operators that targets have for other purposes.
#include "autograd/dispatch.h"
#include "autograd/functions.h"

namespace diffscm {
namespace {

struct Pixels {
  int64_t n, count, channels;
};

Pixels pixels_of(const char* name, const Tensor& x) {
  require(x.rank() >= 2 && x.numel() > 0, "{}: input {} is not [N,..,C]", name,
          to_string(x.shape()));
  const int64_t n = x.dim(0), c = x.dim(-1);
  return {n, x.numel() / (n * c), c};
}

// y[n,p,c] = v[n * stride + c] + x[n,p,c], x or nothing: a product of no inner indices leaves its
// bias.
template <class T>
void add_vectors(const Pixels& s, const float* v, int64_t stride, const T* x, T* y, Target target) {
  const int64_t sample = s.count * s.channels;
  for (int64_t n = 0; n < s.n; ++n)
    run(target, kernels::BasicMatmulArgs<T>{
                    s.count, s.channels, 0, nullptr, 0, false, nullptr, s.channels, false,
                    v + n * stride, x ? x + n * sample : nullptr, y + n * sample, s.channels});
}

// v[n * stride + c] = sum_p x[n,p,c].
template <class T>
void sum_vectors(const Pixels& s, const T* x, float* v, int64_t stride, Target target) {
  for (int64_t n = 0; n < s.n; ++n)
    run(target, kernels::BasicColumnSumArgs<T>{s.count, s.channels, x + n * s.count * s.channels,
                                               v + n * stride});
}

// Powers of two, and the pool's quarter, are exact.
Tensor times(const Tensor& x, float factor) {
  return scale(Variable(x), factor).value();
}

}  // namespace

Variable add_to_pixels(const Variable& x, const Variable& v) {
  const Pixels s = pixels_of("add_to_pixels", x.value());
  require(v.shape() == Shape({s.n, s.channels}), "add_to_pixels: vectors {} for an input {}",
          to_string(v.shape()), to_string(x.shape()));
  const Target target = x.value().target();
  Tensor y(x.shape(), target, x.value().dtype());
  with_storage(y.dtype(), [&]<class T>(T) {
    add_vectors<T>(s, v.value().data(), s.channels, x.value().data<T>(), y.mutable_data<T>(),
                   target);
  });
  return Variable::result(y, {x, v}, [=](const Tensor& dy, GradientSink& sink) {
    sink.add(0, dy);
    if (!sink.wants(1)) return;
    Tensor dv({s.n, s.channels}, target);
    with_storage(dy.dtype(), [&]<class T>(T) {
      sum_vectors<T>(s, dy.data<T>(), dv.mutable_data(), s.channels, target);
    });
    sink.add(1, std::move(dv));
  });
}

Variable mean_over_pixels(const std::vector<Variable>& maps) {
  require(!maps.empty(), "mean_over_pixels: no maps");
  std::vector<Pixels> shapes;
  std::vector<Shape> full;
  int64_t width = 0;
  for (const Variable& m : maps) {
    shapes.push_back(pixels_of("mean_over_pixels", m.value()));
    full.push_back(m.shape());
    width += shapes.back().channels;
    require(shapes.back().n == shapes[0].n, "mean_over_pixels: maps of {} and {} samples",
            shapes[0].n, shapes.back().n);
  }
  const Target target = maps[0].value().target();
  const Dtype dtype = maps[0].value().dtype();
  Tensor y({shapes[0].n, width}, target);
  with_storage(dtype, [&]<class T>(T) {
    int64_t offset = 0;
    for (size_t i = 0; i < maps.size(); ++i) {
      const Tensor mean = times(maps[i].value(), 1 / static_cast<float>(shapes[i].count));
      sum_vectors<T>(shapes[i], mean.data<T>(), y.mutable_data() + offset, width, target);
      offset += shapes[i].channels;
    }
  });
  return Variable::result(y, maps, [=](const Tensor& dy, GradientSink& sink) {
    int64_t offset = 0;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Pixels& s = shapes[i];
      if (sink.wants(i)) {
        const Tensor share = times(dy, 1 / static_cast<float>(s.count));
        Tensor dx(full[i], target, dtype);
        with_storage(dtype, [&]<class T>(T) {
          add_vectors<T>(s, share.data() + offset, width, nullptr, dx.mutable_data<T>(), target);
        });
        sink.add(i, std::move(dx));
      }
      offset += s.channels;
    }
  });
}

// The transpose of the mean of 2x2 windows, four times: each pixel four times.
Variable upsample(const Variable& x) {
  require(x.value().rank() == 4, "upsample: input {} is not [N,H,W,C]", to_string(x.shape()));
  const int64_t n = x.dim(0), h = 2 * x.dim(1), w = 2 * x.dim(2), c = x.dim(3);
  const Tensor in = times(x.value(), 4);
  Tensor y({n, h, w, c}, in.target(), in.dtype());
  with_storage(in.dtype(), [&]<class T>(T) {
    run(in.target(),
        kernels::BasicAvgPoolBackwardArgs<T>{n, h, w, c, in.data<T>(), y.mutable_data<T>()});
  });
  return Variable::result(y, {x}, [=](const Tensor& dy, GradientSink& sink) {
    Tensor mean({n, h / 2, w / 2, c}, dy.target(), dy.dtype());
    with_storage(dy.dtype(), [&]<class T>(T) {
      run(dy.target(),
          kernels::BasicAvgPoolArgs<T>{n, h, w, c, dy.data<T>(), mean.mutable_data<T>()});
    });
    sink.add(0, times(mean, 4));
  });
}

Variable slice(const Variable& x, int64_t begin, int64_t end) {
  return Variable::result(
      x.value().slice(begin, end), {x},
      [=, shape = x.shape(), target = x.value().target()](const Tensor& dy, GradientSink& sink) {
        Tensor dx(shape, target);
        dx.copy_from(Tensor::constant(shape, 0, target));
        dx.slice(begin, end).copy_from(dy);
        sink.add(0, std::move(dx));
      });
}

}  // namespace diffscm
