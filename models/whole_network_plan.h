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

// Part of the weights of one convolution.
struct PlannedWeight {
  std::string name;  // of the convolution: NAME.weight, NAME.bias
  int64_t first_out = 0, out_planes = 1;
  int phase = -1;  // kernels::WholeNetworkPackArgs
  bool operator<=>(const PlannedWeight&) const = default;
};

struct PlannedLayer {
  kernels::WholeNetworkLayer layer;  // without its pointers
  PlannedWeight weight, shortcut;    // empty names: none
  std::string norm;                  // NAME.weight is gamma, NAME.bias beta
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

// What a block has. most_rows: places of one convolution's output, for one plane and for two.
struct WholeNetworkLimits {
  int64_t arena_bytes;
  int most_rows[kernels::WholeNetworkLayer::kMostOutPlanes];
};

WholeNetworkPlan plan_whole_network(const UNetConfig& config, const WholeNetworkLimits& limits);

}  // namespace diffscm
