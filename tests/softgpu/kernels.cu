#include "tests/softgpu/kernels.h"

#include <cuda_runtime.h>

#include "kernels/cuda/device/approximate.h"

namespace diffscm::softgpu::test {
namespace {

__global__ void add_one_kernel(float* x, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] += 1;
}

__global__ void add_one_unchecked_kernel(float* x) {
  x[threadIdx.x] += 1;
}

__global__ void read_vector_kernel(const float* x, float* sum) {
  const float4 v = *reinterpret_cast<const float4*>(x);
  sum[0] = v.x + v.y + v.z + v.w;
}

__global__ void subtract_kernel(float a, float b, float* out) {
  asm("sub.f32 %0, %1, %2;" : "=f"(out[0]) : "f"(a), "f"(b));
}
__global__ void subtract_wrongly_kernel(float a, float b, float* out) {
  asm("sub.f32 %0, %2, %1;" : "=f"(out[0]) : "f"(a), "f"(b));
}

__constant__ float table[4] = {2, 3, 5, 7};

__global__ void read_table_kernel(float* out) {
  out[threadIdx.x] = table[threadIdx.x];
}

__global__ void __launch_bounds__(64) at_most_64_threads(float* x) {
  x[threadIdx.x] = 1;
}

__global__ void dynamic_shared(float* x) {
  extern __shared__ float shared[];
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void static_shared(float* x) {
  __shared__ float shared[1024];
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void following(float* x) {
  kernels::cuda::follow_previous_kernel();
  x[threadIdx.x] *= 2;
}

__global__ void at_once(float* x) {
  x[threadIdx.x] *= 2;
}

__global__ void approximate_tanh_kernel(float* x) {
  x[threadIdx.x] = kernels::cuda::tanh_approximate(x[threadIdx.x]);
}

const void* address(void (*kernel)(float*)) {
  return reinterpret_cast<const void*>(kernel);
}

}  // namespace

void add_one(float* x, int n, cudaStream_t stream) {
  add_one_kernel<<<(n + 127) / 128, 128, 0, stream>>>(x, n);
}
void add_one_unchecked(float* x, int n, cudaStream_t stream) {
  add_one_unchecked_kernel<<<1, n, 0, stream>>>(x);
}
void read_vector(const float* x, float* sum, cudaStream_t stream) {
  read_vector_kernel<<<1, 1, 0, stream>>>(x, sum);
}
void subtract(float a, float b, float* out, cudaStream_t stream) {
  subtract_kernel<<<1, 1, 0, stream>>>(a, b, out);
}
void subtract_wrongly(float a, float b, float* out, cudaStream_t stream) {
  subtract_wrongly_kernel<<<1, 1, 0, stream>>>(a, b, out);
}
void approximate_tanh(float* x, int n, cudaStream_t stream) {
  approximate_tanh_kernel<<<1, n, 0, stream>>>(x);
}
void read_table(float* out, cudaStream_t stream) {
  read_table_kernel<<<1, 4, 0, stream>>>(out);
}

void launch_following(float* x, cudaStream_t stream) {
  kernels::cuda::launch<following>(1, 2, 0, {stream}, x);
}
void launch_at_once(float* x, cudaStream_t stream) {
  kernels::cuda::launch<at_once>(1, 2, 0, {stream}, x);
}

const void* const kAtMost64Threads = address(at_most_64_threads);
const void* const kDynamicShared = address(dynamic_shared);
const void* const kStaticShared = address(static_shared);
const void* const kFollowing = address(following);
const void* const kAtOnce = address(at_once);

}  // namespace diffscm::softgpu::test
