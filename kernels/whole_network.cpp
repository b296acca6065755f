#include "kernels/whole_network.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const WholeNetworkArgs& a) {
  require(a.n >= 0 && a.side >= 1 && a.side < 64 && a.channels >= 1,
          "whole_network: n, side, channels are {}, {}, {}, expected >= 0, 1 to 63, >= 1", a.n,
          a.side, a.channels);
  require(a.layer_count >= 1 && a.stage_count >= 1, "whole_network: {} layers, {} stages",
          a.layer_count, a.stage_count);
  require(a.arena_bytes >= 0 && a.saved_bytes >= 0, "whole_network: {} and {} bytes", a.arena_bytes,
          a.saved_bytes);
  require(a.n < int64_t{1} << 31, "whole_network: {} images", a.n);
  if (a.n == 0) return;
  require(a.layers && a.stages && a.x && a.y && (a.told || a.told_width == 0),
          "whole_network: layers, stages, x, told or y is null");
}

void check(const WholeNetworkPackArgs& a) {
  using Use = WholeNetworkPackArgs::Use;
  const auto is = [&](auto... uses) { return ((a.use == uses) || ...); };
  const bool three = is(Use::phase, Use::unfolded, Use::last);
  require(a.filter == 3 || (a.filter == 1 && !three), "whole_network_pack: use {}, filter {}",
          static_cast<int>(a.use), a.filter);
  require(a.phase >= 0 && a.phase < 4, "whole_network_pack: phase {}", a.phase);
  const int64_t planes = a.use == Use::unfolded ? unfolded_planes(static_cast<int>(a.c)) : a.c / 32;
  require(a.planes == planes && planes >= 1 && (a.use == Use::unfolded || a.c % 32 == 0),
          "whole_network_pack: {} input channels in {} planes of 32", a.c, a.planes);
  const bool last = a.use == Use::last;
  require((a.columns == 32 || (a.columns == 64 && !last)) && a.first_out >= 0 &&
              (last ? a.k <= 4 : a.first_out + a.columns <= a.k),
          "whole_network_pack: {} columns from output channel {} of {}", a.columns, a.first_out,
          a.k);
  require((a.weight || a.use == Use::identity) && a.packed,
          "whole_network_pack: weight or packed is null");
}

}  // namespace diffscm::kernels
