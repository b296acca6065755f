// Whether this build is instrumented by AddressSanitizer, and what it wants to be told.
#pragma once

#ifdef __SANITIZE_ADDRESS__
#define DIFFSCM_EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define DIFFSCM_EMU_ASAN 0
#endif
