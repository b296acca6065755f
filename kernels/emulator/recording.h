// Recorded steps: work on a stream that is kept instead of done, to be done again and again.
#pragma once

#include <functional>

#include "kernels/runtime.h"

namespace diffscm::kernels::emulator {

// Keeps the work if the stream is being recorded; otherwise does it at once.
void do_or_record(Stream stream, std::function<void()> work);

bool recording(Stream stream);
void begin_recording(Stream stream);
Recording end_recording(Stream stream);
void replay(Recording recording, Stream stream);
void discard(Recording recording);

}  // namespace diffscm::kernels::emulator
