// A whole walk along the chain as one recorded step, replayed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/kept.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/step.h"
#include "engine/captured_step.h"

namespace diffscm {

// A deterministic walk along the chain by DDIM (Song et al. 2021, eq. 12 with sigma = 0), up or
// down, guided or not. Where the target records and the networks can be recorded, each step is one
// replay of the networks and the update (engine/captured_step.h): what differs from level to level
// is read from the target's memory. The results are the same either way. A recording outlives its
// walk (diffusion/kept.h): the next one of the same networks and shapes goes on with it, whatever
// its images, its levels, what is bound to the networks and how strongly one gradient or condition
// guides. (Of several of a kind the scales are within the recording.)
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
  ~DdimWalk();
  DdimWalk(const DdimWalk&) = delete;
  DdimWalk& operator=(const DdimWalk&) = delete;

  // Makes the next move.
  void step();
  // Where the images are now; changes with the next step, and is gone with this object.
  const Tensor& images() const;

 private:
  class Advance;  // a step, with the memory that it reads and writes

  const Denoiser denoiser_;
  const std::vector<Move> moves_;
  Tensor timesteps_, alpha_bars_;  // of all moves: [moves, N] and [moves, 2]
  size_t moves_made_ = 0;
  std::optional<RecordingKey> key_;  // of a step that can be kept
  std::unique_ptr<Advance> advance_;
};

}  // namespace diffscm
