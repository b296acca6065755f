// Atomic read-modify-write operations, and fences.
#pragma once

namespace diffscm::kernels::emu {

// Each returns what was there before.
int atomicAdd(int* at, int value);
unsigned atomicAdd(unsigned* at, unsigned value);
unsigned long long atomicAdd(unsigned long long* at, unsigned long long value);
float atomicAdd(float* at, float value);
int atomicMax(int* at, int value);
unsigned atomicMax(unsigned* at, unsigned value);
int atomicMin(int* at, int value);
unsigned atomicMin(unsigned* at, unsigned value);
int atomicCAS(int* at, int compare, int value);
unsigned atomicCAS(unsigned* at, unsigned compare, unsigned value);
unsigned long long atomicCAS(unsigned long long* at, unsigned long long compare,
                             unsigned long long value);

void __threadfence();

}  // namespace diffscm::kernels::emu
