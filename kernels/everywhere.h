// Marks a function of which host and device have the same text.
#pragma once

#ifdef __CUDACC__
#define DIFFSCM_EVERYWHERE __host__ __device__ __forceinline__
#else
#define DIFFSCM_EVERYWHERE inline __attribute__((always_inline))
#endif
