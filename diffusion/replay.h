// Networks and whole steps along the chain as recorded work (engine/captured_step.h): on a GPU a
// small U-Net is bound by its hundreds of launches, which a replay queues as one.
#pragma once

#include <vector>

#include "diffusion/epsilon.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/sampler.h"
#include "engine/captured_step.h"

namespace diffscm {

// f, evaluated by replays for batches of up to `largest` images, where f is recordable and the
// target records; else f itself. Batches that shrink image by image (fixed-point abduction) are
// padded to the next power of two: a recording costs two or three evaluations and holds its
// activations, so there must be few of them, and padding wastes less than that. (Images do not
// influence each other: what stands in the padding does not matter.)
TimestepFunction replayed(const TimestepFunction& f, Target target, int64_t largest);

// A deterministic walk along the chain by DDIM (Song et al. 2021, eq. 12 with sigma = 0), up or
// down, guided or not, each step one replay of the networks and the fused update: what differs from
// level to level is read from the target's memory. Needs recordable functions.
class DdimWalk {
 public:
  // From one level to another, with the networks asked at the timestep of level `asked`. No step
  // starts at level 0 (its x0-prediction would divide by 0 where a threshold acts).
  struct Move {
    int from, to, asked;
  };
  struct Options {
    double guidance_scale = 0;
    ThresholdOptions threshold{};
  };
  // `gradient` may be empty. Starts with a copy of x.
  DdimWalk(const EpsilonModel& epsilon, const GuidanceGradient& gradient, const Chain& chain,
           const std::vector<Move>& moves, const Tensor& x, const Options& options);

  // Makes the next move.
  void step();
  // Where the images are now; changes with the next step.
  const Tensor& images() const { return x_; }

 private:
  void body();

  const EpsilonModel epsilon_;
  const GuidanceGradient gradient_;
  const Options options_;
  Tensor timesteps_, alpha_bars_;  // of all moves: [moves, N] and [moves, 2]
  int64_t moves_made_ = 0;
  Tensor x_, t_, levels_;  // what the recorded step reads and writes
  CapturedStep step_;
};

}  // namespace diffscm
