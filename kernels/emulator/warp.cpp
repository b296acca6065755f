#include "kernels/emulator/warp.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/emulator/block.h"

namespace diffscm::kernels::emulator {

const char* name(WarpOperation::Kind kind) {
  switch (kind) {
    case WarpOperation::Kind::sync:
      return "__syncwarp";
    case WarpOperation::Kind::shuffle:
      return "__shfl_sync";
    case WarpOperation::Kind::shuffle_up:
      return "__shfl_up_sync";
    case WarpOperation::Kind::shuffle_down:
      return "__shfl_down_sync";
    case WarpOperation::Kind::shuffle_xor:
      return "__shfl_xor_sync";
    case WarpOperation::Kind::ballot:
      return "a vote";
    case WarpOperation::Kind::ldmatrix:
      return "ldmatrix";
    case WarpOperation::Kind::stmatrix:
      return "stmatrix";
    case WarpOperation::Kind::mma:
      return "mma";
  }
  return "";
}

namespace {

// The lane from which `lane` reads: as PTX's shfl.sync defines it.
int source(const WarpOperation& operation, int lane) {
  const int group = lane & ~(operation.width - 1), end = group + operation.width;
  int from = lane;
  switch (operation.kind) {
    case WarpOperation::Kind::shuffle:
      return group + (operation.argument & (operation.width - 1));
    case WarpOperation::Kind::shuffle_up:
      from = lane - operation.argument;
      break;
    case WarpOperation::Kind::shuffle_down:
      from = lane + operation.argument;
      break;
    // A lane may read a group before its own, but none after it.
    case WarpOperation::Kind::shuffle_xor:
      from = lane ^ operation.argument;
      return from < end ? from : lane;
    default:
      break;
  }
  return from >= group && from < end ? from : lane;
}

}  // namespace

void shuffle(const Operands& lanes, unsigned mask) {
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const WarpOperation& operation = *lanes[lane];
    const int from = source(operation, lane);
    if (!(mask >> from & 1))
      Block::running()->fail(
          fmt::format("{}: lane {} reads lane {}, which mask 0x{:08x} does not contain",
                      name(operation.kind), lane, from, mask),
          operation.site);
    std::memcpy(operation.out, lanes[from]->in, operation.bytes);
  }
}

void ballot(const Operands& lanes, unsigned mask) {
  unsigned votes = 0;
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    votes |= static_cast<unsigned>(*static_cast<const int*>(lanes[lane]->in) != 0) << lane;
  }
  for (unsigned rest = mask; rest != 0; rest &= rest - 1)
    *static_cast<unsigned*>(lanes[__builtin_ctz(rest)]->out) = votes;
}

}  // namespace diffscm::kernels::emulator
