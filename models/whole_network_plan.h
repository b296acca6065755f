// A U-Net as a list of layers for the whole-network kernel (kernels/whole_network.h), with a place
// in the block's shared memory for every activation. A plan knows a network's configuration and the
// names of its parameters, not their values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/whole_network.h"

namespace diffscm {

struct UNetConfig;

// Part of the weights of one convolution, as kernels::WholeNetworkPackArgs makes them.
struct PlannedWeight {
  using Use = kernels::WholeNetworkPackArgs::Use;
  std::string name;  // of the convolution: NAME.weight, NAME.bias; empty: none, or the identity
  Use use = Use::taps;
  int phase = 0;
  int64_t first_out = 0;
};

struct PlannedLayer {
  kernels::WholeNetworkLayer layer;  // without its pointers
  PlannedWeight weight, shortcut;
  std::string norm, out_norm;  // NAME.weight is gamma, NAME.bias beta; empty: none
};

// Columns of the table `told`: what a residual block makes of the embedding of time and condition.
struct PlannedTold {
  std::string name;  // of the linear layer
  int64_t first, columns;
};

struct WholeNetworkPlan {
  std::string unfit;  // empty, or why the network cannot be computed so
  std::vector<PlannedLayer> layers{};
  std::vector<PlannedTold> told{};
  int64_t told_width = 0, arena_bytes = 0, saved_bytes = 0;
};

// What a block has. most_tiles: of a convolution's input, for one plane of output and for two.
struct WholeNetworkLimits {
  int64_t arena_bytes;
  int most_tiles[kernels::WholeNetworkLayer::kMostOutPlanes];
};

WholeNetworkPlan plan_whole_network(const UNetConfig& config, const WholeNetworkLimits& limits);

}  // namespace diffscm
