#include "kernels/attention.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

template <class T>
void check_forward(const char* name, const BasicAttentionArgs<T>& a) {
  require(a.n >= 0 && a.tokens >= 1 && a.queries >= 1 && a.queries <= a.tokens,
          "{}: n, tokens, queries are {}, {}, {}, expected >= 0, >= 1 and 1 .. tokens", name, a.n,
          a.tokens, a.queries);
  require(a.heads >= 1 && a.channels >= 1 && a.channels % a.heads == 0,
          "{}: {} channels cannot be cut into {} heads", name, a.channels, a.heads);
  require(a.n == 0 || (a.qkv && a.out && a.lse), "{}: qkv, out or lse is null", name);
}

}  // namespace

template <class T>
void check(const BasicAttentionArgs<T>& args) {
  check_forward("attention", args);
}
template void check(const BasicAttentionArgs<float>&);
template void check(const BasicAttentionArgs<bf16>&);

template <class T>
void check(const BasicAttentionBackwardArgs<T>& args) {
  check_forward("attention_backward", args.forward);
  require(args.forward.n == 0 || (args.dout && args.dqkv),
          "attention_backward: dout or dqkv is null");
}
template void check(const BasicAttentionBackwardArgs<float>&);
template void check(const BasicAttentionBackwardArgs<bf16>&);

}  // namespace diffscm::kernels
