#include "kernels/pool.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

// All four kinds of pooling: [N, H, W, C].
template <class Args>
void check_image(const char* name, const Args& a) {
  require(a.n >= 0 && a.h >= 1 && a.w >= 1 && a.c >= 1,
          "{}: shape [{}, {}, {}, {}] is not an image", name, a.n, a.h, a.w, a.c);
}

// How many windows there are: none in an image of one row or column.
template <class Args>
int64_t windows(const Args& a) {
  return a.n * (a.h / 2) * (a.w / 2);
}

template <class Args>
void check_tokens(const char* name, const Args& a) {
  require(a.n >= 0 && a.hw >= 1 && a.c >= 1, "{}: shape [{}, {}, {}] is not an image", name, a.n,
          a.hw, a.c);
}

}  // namespace

template <class T>
void check(const BasicAvgPoolArgs<T>& args) {
  check_image("avg_pool", args);
  require(windows(args) == 0 || (args.x && args.y), "avg_pool: x or y is null");
}
template void check(const BasicAvgPoolArgs<float>&);
template void check(const BasicAvgPoolArgs<bf16>&);

template <class T>
void check(const BasicAvgPoolBackwardArgs<T>& args) {
  check_image("avg_pool_backward", args);
  require(args.n == 0 || (args.dx && (args.dy || windows(args) == 0)),
          "avg_pool_backward: dy or dx is null");
}
template void check(const BasicAvgPoolBackwardArgs<float>&);
template void check(const BasicAvgPoolBackwardArgs<bf16>&);

void check(const MaxPoolArgs& args) {
  check_image("max_pool", args);
  require(windows(args) == 0 || (args.x && args.y), "max_pool: x or y is null");
}

void check(const MaxPoolBackwardArgs& args) {
  check_image("max_pool_backward", args);
  require(args.n == 0 || (args.dx && ((args.dy && args.x) || windows(args) == 0)),
          "max_pool_backward: x, dy or dx is null");
}

template <class T>
void check(const BasicPoolTokensArgs<T>& args) {
  check_tokens("pool_tokens", args);
  require(args.n == 0 || (args.x && args.position && args.y),
          "pool_tokens: x, position or y is null");
}
template void check(const BasicPoolTokensArgs<float>&);
template void check(const BasicPoolTokensArgs<bf16>&);

template <class T>
void check(const BasicPoolTokensBackwardArgs<T>& args) {
  check_tokens("pool_tokens_backward", args);
  require(args.n == 0 || args.dy, "pool_tokens_backward: dy is null");
}
template void check(const BasicPoolTokensBackwardArgs<float>&);
template void check(const BasicPoolTokensBackwardArgs<bf16>&);

}  // namespace diffscm::kernels
