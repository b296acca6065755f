// Kernels for the tests of the device in software, compiled by nvcc.
#pragma once

#include <cuda_runtime_api.h>

namespace diffscm::softgpu::test {

// x[i] += 1 for n elements, launched as kernel<<<...>>>.
void add_one(float* x, int n, cudaStream_t stream);
// The same without a check: n threads, whatever x holds.
void add_one_unchecked(float* x, int n, cudaStream_t stream);
// Reads four floats at once from x, which must be aligned to 16 bytes for that.
void read_vector(const float* x, float* sum, cudaStream_t stream);
// out[0] = a - b, in PTX; the operands of the second are the wrong way round.
void subtract(float a, float b, float* out, cudaStream_t stream);
void subtract_wrongly(float a, float b, float* out, cudaStream_t stream);
// x[i] = tanh_approximate(x[i]) for n elements.
void approximate_tanh(float* x, int n, cudaStream_t stream);
// out[i] = table[i], a __constant__ variable: 2, 3, 5, 7.
void read_table(float* out, cudaStream_t stream);

// x[0] and x[1] doubled, launched as the project launches its kernels. The second does not wait for
// the kernel ahead of it.
void launch_following(float* x, cudaStream_t stream);
void launch_at_once(float* x, cudaStream_t stream);

// sums[m][n] = 1 + the sum over k < 32 of a[m][k] b[k][n] (product_elements.h), 64 x columns of
// them, by wgmma and plain operands. Columns: 8, 32, 64, 128 or 192.
void multiply_plain(int columns, float* sums, cudaStream_t stream);
// The same with A in registers and B along its columns, of which there are 128 or 192.
void multiply_of_registers(int columns, float* sums, cudaStream_t stream);

// y = what tests/emulator/bulk_stream.h makes of x, `slots` times 480 floats. `phases`: rightly.
void stream_reversed(bool phases, const float* x, float* y, int slots, cudaStream_t stream);

// For cudaLaunchKernel and its like. Each is kernel(float* x).
extern const void* const kAtMost64Threads;  // __launch_bounds__(64)
extern const void* const kDynamicShared;    // x[0] = number of its first dynamic shared float
extern const void* const kStaticShared;     // 4096 bytes
extern const void* const kFollowing;        // those of launch_following, launch_at_once
extern const void* const kAtOnce;

}  // namespace diffscm::softgpu::test
