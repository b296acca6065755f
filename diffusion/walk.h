// A whole walk along the chain as one recorded step, replayed.
#pragma once

#include <optional>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/step.h"
#include "engine/captured_step.h"

namespace diffscm {

// A deterministic walk along the chain by DDIM (Song et al. 2021, eq. 12 with sigma = 0), up or
// down, guided or not. Where the target records and the networks can be recorded, each step is one
// replay of the networks and the update (engine/captured_step.h): what differs from level to level
// is read from the target's memory. The results are the same either way.
class DdimWalk {
 public:
  // From one level to another, with the networks asked at the timestep of level `asked`. A move
  // from level 0, an image, is not thresholded.
  struct Move {
    int from, to, asked;
  };
  // Starts with a copy of x.
  DdimWalk(const Denoiser& denoiser, const Chain& chain, const std::vector<Move>& moves,
           const Tensor& x, const ThresholdOptions& threshold = {});

  // Makes the next move.
  void step();
  // Where the images are now; changes with the next step.
  const Tensor& images() const { return x_; }

 private:
  void advance(const ThresholdOptions& threshold);

  const Denoiser denoiser_;
  const std::vector<Move> moves_;
  const ThresholdOptions threshold_;
  Tensor timesteps_, alpha_bars_;  // of all moves: [moves, N] and [moves, 2]
  size_t moves_made_ = 0;
  Tensor x_, t_, levels_;             // what a step reads and writes
  std::optional<CapturedStep> step_;  // empty: the networks cannot be recorded
};

}  // namespace diffscm
