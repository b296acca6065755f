// Barriers, shuffles and votes, as kernels call them. Always inlined, so that the emulator's own
// functions return to the kernel's code: reports give lines by that address.
#pragma once

#include <type_traits>

#include "kernels/emulator/builtins.h"
#include "kernels/emulator/site.h"
#include "kernels/emulator/warp.h"

namespace diffscm::kernels::emulator {

void barrier(Site site);

template <class T>
__forceinline__ T shuffle(WarpOperation::Kind kind, unsigned mask, T value, int argument, int width,
                          Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  T result;
  WarpOperation operation{.kind = kind,
                          .in = &value,
                          .out = &result,
                          .argument = argument,
                          .width = width,
                          .bytes = sizeof(T),
                          .site = site};
  warp_operation(operation, mask);
  return result;
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

__forceinline__ void __syncthreads(DIFFSCM_EMU_CALLER) {
  emulator::barrier({file, line});
}
__forceinline__ void __syncwarp(unsigned mask = 0xffffffffu, DIFFSCM_EMU_CALLER) {
  emulator::WarpOperation operation{.kind = emulator::WarpOperation::Kind::sync,
                                    .site = {file, line}};
  emulator::warp_operation(operation, mask);
}

template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
                              DIFFSCM_EMU_CALLER) {
  return emulator::shuffle(emulator::WarpOperation::Kind::shuffle, mask, value, lane, width,
                           {file, line});
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 DIFFSCM_EMU_CALLER) {
  return emulator::shuffle(emulator::WarpOperation::Kind::shuffle_up, mask, value,
                           static_cast<int>(delta), width, {file, line});
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                   DIFFSCM_EMU_CALLER) {
  return emulator::shuffle(emulator::WarpOperation::Kind::shuffle_down, mask, value,
                           static_cast<int>(delta), width, {file, line});
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                                  DIFFSCM_EMU_CALLER) {
  return emulator::shuffle(emulator::WarpOperation::Kind::shuffle_xor, mask, value, lane_mask,
                           width, {file, line});
}

__forceinline__ unsigned __ballot_sync(unsigned mask, int predicate, DIFFSCM_EMU_CALLER) {
  unsigned result = 0;
  emulator::WarpOperation operation{.kind = emulator::WarpOperation::Kind::ballot,
                                    .in = &predicate,
                                    .out = &result,
                                    .site = {file, line}};
  emulator::warp_operation(operation, mask);
  return result;
}
__forceinline__ int __any_sync(unsigned mask, int predicate, DIFFSCM_EMU_CALLER) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
__forceinline__ int __all_sync(unsigned mask, int predicate, DIFFSCM_EMU_CALLER) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}

}  // namespace diffscm::kernels::emu
