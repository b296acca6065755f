// One binary, several instruction sets. A leaf function marked DIFFSCM_CLONES is compiled three
// times (AVX-512, AVX2 with FMA, the baseline) and the dynamic linker picks one when the program
// starts.
//
// Two rules follow from how gcc does it. First, gcc does not clone the body of an OpenMP region:
// the region lives in an uncloned launcher (see parallel.h) that calls a cloned leaf for each range
// of work. Second, a helper is vectorised for the leaf's instruction set only when it is inlined
// into it: helpers are DIFFSCM_INLINE. The loops themselves are plain C++ that gcc vectorises.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define DIFFSCM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DIFFSCM_CLONES
#endif

#define DIFFSCM_INLINE inline __attribute__((always_inline))
