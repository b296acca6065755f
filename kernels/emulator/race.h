// The race checker: tells, for every access of a kernel to shared or global memory, whether an
// earlier access by another thread conflicts with it and nothing orders the two. CUDA orders memory
// accesses of a block's threads by __syncthreads(), those of a warp's lanes also by __syncwarp(); a
// shuffle, a vote or an mma orders nothing. Accesses of different blocks of one launch are never
// ordered, unless through an atomic with fences around it.
//
// It exists in builds with DIFFSCM_EMU_RACE, whose kernel files are compiled with
// -fsanitize=thread: the compiler then calls __tsan_read4(address) and the like before every
// access, and those functions are the emulator's own (race_hooks.cpp), not the sanitizer's.
//
// The method is FastTrack (Flanagan and Freund 2009, PLDI): per piece of memory the last write and
// a few last reads, each with its thread's clock. Vector clocks shrink to almost nothing, as
// barriers join whole blocks: the number of barriers passed orders threads of different warps, and
// only lanes of one warp need clocks of each other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/emulator/launch.h"

namespace diffscm::kernels::emulator::race {

#ifdef DIFFSCM_EMU_RACE
inline constexpr bool kChecked = true;
#else
inline constexpr bool kChecked = false;
#endif

enum class Access { read, write, atomic };

// What the emulator reports as it happens; all on the one OS thread that such a build uses.
void begin_launch();
void begin_block(unsigned threads);
void barrier();                                // all threads of the block
void sync_warp(unsigned warp, unsigned mask);  // these lanes
void access(const void* address, size_t bytes, Access kind, const void* pc);
void fence();
// cp.async: nobody may touch the target from its start to its end.
void async_start(const void* address, size_t bytes, const void* pc);
void async_end(const void* address, size_t bytes, const void* pc);
// cp.async.bulk: the same from async_start() to its end; then the bytes are there for threads that
// have waited for the phase of its barrier, and for all after the next barrier of the block.
void bulk_end(const void* address, size_t bytes, const void* pc, unsigned thread, unsigned phase);
void waited_for(unsigned phase);  // the running thread

}  // namespace diffscm::kernels::emulator::race
