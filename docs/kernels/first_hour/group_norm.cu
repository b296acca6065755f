// Group norm three times over, each kernel a little less naive, for docs/kernels/first_hour.md.
//
//   y[n,p,c] = silu((x[n,p,c] - mean[n,c]) / sqrt(variance[n,c] + 1e-5))
//
// of images with 28 x 28 pixels p and 32 channels c, stored with the channels together (NHWC),
// as the layers of the MNIST models are; a group is one channel. Needs nothing but the CUDA
// runtime.
//   group_norm 1|2|3 [IMAGES]    runs that kernel and compares with plain loops; 264 images
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

constexpr int kPixels = 28 * 28, kChannels = 32;

__device__ float silu(float z) {
  return z / (1 + expf(-z));
}

// One thread per image and channel: of 264 images 8448 threads, on a machine for 270 thousand.
// Neighbouring threads read neighbouring channels, so the loads are as good as loads can be.
__global__ void one_thread_each(const float* x, float* y, int images) {
  const int group = blockIdx.x * blockDim.x + threadIdx.x;
  if (group >= images * kChannels) return;
  const int first = group / kChannels * kPixels * kChannels + group % kChannels;
  float sum = 0, squares = 0;
  for (int p = 0; p < kPixels; ++p) sum += x[first + p * kChannels];
  const float mean = sum / kPixels;
  for (int p = 0; p < kPixels; ++p) {
    const float d = x[first + p * kChannels] - mean;
    squares += d * d;
  }
  const float rstd = 1 / sqrtf(squares / kPixels + 1e-5f);
  for (int p = 0; p < kPixels; ++p)
    y[first + p * kChannels] = silu((x[first + p * kChannels] - mean) * rstd);
}

// The sum over a block of 256 threads, for all of them.
__device__ float sum_of_block(float value) {
  __shared__ float of_warp[8];
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(~0u, value, apart);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < 8; ++w) sum += of_warp[w];
  __syncthreads();
  return sum;
}

// One block per image and channel. Plenty of threads; but neighbouring threads read neighbouring
// pixels, 128 bytes apart: of each sector of 32 bytes that memory delivers, four are used.
__global__ void one_block_each(const float* x, float* y) {
  const int first = blockIdx.x / kChannels * kPixels * kChannels + blockIdx.x % kChannels;
  float sum = 0, squares = 0;
  for (int p = threadIdx.x; p < kPixels; p += blockDim.x) sum += x[first + p * kChannels];
  const float mean = sum_of_block(sum) / kPixels;
  for (int p = threadIdx.x; p < kPixels; p += blockDim.x) {
    const float d = x[first + p * kChannels] - mean;
    squares += d * d;
  }
  const float rstd = 1 / sqrtf(sum_of_block(squares) / kPixels + 1e-5f);
  for (int p = threadIdx.x; p < kPixels; p += blockDim.x)
    y[first + p * kChannels] = silu((x[first + p * kChannels] - mean) * rstd);
}

// One block per image and slab of eight channels, which it reads once, whole sectors, into shared
// memory. Each of its eight warps then sums one channel.
constexpr int kSlab = 8;
constexpr int kPitch = 8;  // floats from one pixel of the tile to the next
__global__ void one_block_per_slab(const float* x, float* y) {
  __shared__ float tile[kPixels * kPitch];
  __shared__ float mean[kSlab], rstd[kSlab];
  const int first = blockIdx.x / (kChannels / kSlab) * kPixels * kChannels +
                    blockIdx.x % (kChannels / kSlab) * kSlab;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = threadIdx.x; i < kPixels * kSlab; i += blockDim.x)
    tile[i / kSlab * kPitch + i % kSlab] = x[first + i / kSlab * kChannels + i % kSlab];
  __syncthreads();

  float sum = 0, squares = 0;
  for (int p = lane; p < kPixels; p += 32) sum += tile[p * kPitch + warp];
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(~0u, sum, apart);
  for (int p = lane; p < kPixels; p += 32) {
    const float d = tile[p * kPitch + warp] - sum / kPixels;
    squares += d * d;
  }
  for (int apart = 16; apart > 0; apart /= 2) squares += __shfl_xor_sync(~0u, squares, apart);
  if (lane == 0) {
    mean[warp] = sum / kPixels;
    rstd[warp] = 1 / sqrtf(squares / kPixels + 1e-5f);
  }
  __syncthreads();

  for (int i = threadIdx.x; i < kPixels * kSlab; i += blockDim.x) {
    const int p = i / kSlab, c = i % kSlab;
    y[first + p * kChannels + c] = silu((tile[p * kPitch + c] - mean[c]) * rstd[c]);
  }
}

static void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::printf("%s\n", cudaGetErrorString(status));
  std::exit(1);
}

static double largest_error(const std::vector<float>& x, const std::vector<float>& y, int images) {
  double largest = 0;
  for (int n = 0; n < images; ++n)
    for (int c = 0; c < kChannels; ++c) {
      const int first = n * kPixels * kChannels + c;
      double sum = 0, squares = 0;
      for (int p = 0; p < kPixels; ++p) sum += x[first + p * kChannels];
      for (int p = 0; p < kPixels; ++p)
        squares += std::pow(x[first + p * kChannels] - sum / kPixels, 2);
      for (int p = 0; p < kPixels; ++p) {
        const double z =
            (x[first + p * kChannels] - sum / kPixels) / std::sqrt(squares / kPixels + 1e-5);
        // Written so that a NaN counts.
        const double error = std::abs(y[first + p * kChannels] - z / (1 + std::exp(-z)));
        if (!(error <= largest)) largest = error;
      }
    }
  return largest;
}

int main(int argc, char** argv) {
  const int kernel = argc >= 2 ? std::atoi(argv[1]) : 0,
            images = argc >= 3 ? std::atoi(argv[2]) : 264;
  if (kernel < 1 || kernel > 3 || images < 1 || images > 4096) {
    std::printf("usage: group_norm 1|2|3 [IMAGES, up to 4096]\n");
    return 2;
  }
  const size_t size = size_t{kPixels} * kChannels * static_cast<size_t>(images),
               bytes = size * sizeof(float);
  std::vector<float> x(size), y(size);
  unsigned state = 1;
  for (float& v : x)
    v = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 8388608 - 1;
  float *device_x = nullptr, *device_y = nullptr;
  check(cudaMalloc(&device_x, bytes));
  check(cudaMalloc(&device_y, bytes));
  check(cudaMemcpy(device_x, x.data(), bytes, cudaMemcpyHostToDevice));
  const int groups = images * kChannels;
  if (kernel == 1) one_thread_each<<<(groups + 63) / 64, 64>>>(device_x, device_y, images);
  if (kernel == 2) one_block_each<<<groups, 256>>>(device_x, device_y);
  if (kernel == 3) one_block_per_slab<<<groups / kSlab, 256>>>(device_x, device_y);
  check(cudaGetLastError());
  check(cudaMemcpy(y.data(), device_y, bytes, cudaMemcpyDeviceToHost));
  check(cudaFree(device_x));
  check(cudaFree(device_y));
  const double error = largest_error(x, y, images);
  std::printf("kernel %d: largest error %.1e: %s\n", kernel, error,
              error < 1e-5 ? "right" : "wrong");
  return error < 1e-5 ? 0 : 1;
}
