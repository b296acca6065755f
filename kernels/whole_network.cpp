#include "kernels/whole_network.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const WholeNetworkArgs& a) {
  require(
      a.n >= 0 && a.height >= 1 && a.width >= 1 && a.channels >= 1,
      "whole_network: n, height, width, channels are {}, {}, {}, {}, expected >= 0, >= 1, >= 1, "
      ">= 1",
      a.n, a.height, a.width, a.channels);
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
  require((a.filter == 3 && a.phase >= -1 && a.phase < 4) || (a.filter == 1 && a.phase == -1),
          "whole_network_pack: filter {}, phase {}", a.filter, a.phase);
  require(a.c == 32 * a.planes && a.planes >= 1,
          "whole_network_pack: {} input channels in {} planes of 32", a.c, a.planes);
  require(a.out_planes >= 1 && a.out_planes <= 2 && a.first_out >= 0 &&
              a.first_out + 32 * a.out_planes <= a.k,
          "whole_network_pack: {} planes from output channel {} of {}", a.out_planes, a.first_out,
          a.k);
  require(a.weight && a.packed, "whole_network_pack: weight or packed is null");
}

}  // namespace diffscm::kernels
