// Bulk copies on the emulator: when the bytes are there, and misuse.
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cuda/device/bulk_copy.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/race.h"
#include "tests/emulator/bulk_stream.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

using namespace test;
using kernels::test::streamed;

constexpr int kNumbers = BulkSlots::kNumbers;

// A few floats in device memory.
struct Floats {
  explicit Floats(int count)
      : count(static_cast<size_t>(count)),
        data(static_cast<float*>(emulator::allocate_device(sizeof(float) * this->count))) {
    const emulator::DeviceAccess access;
    for (int i = 0; i < count; ++i) data[i] = static_cast<float>(i) / 4;
  }
  ~Floats() { emulator::release_device(data); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  std::vector<float> values() const {
    const emulator::DeviceAccess access;
    return {data, data + count};
  }
  size_t count;
  float* data;
};

TEST(BulkCopies, AnArrayPassesThroughTwoSlots) {
  in_every_order([] {
    for (const int slots : {1, 2, 3, 8}) {
      const Floats x(slots * kNumbers), y(slots * kNumbers);
      launch<stream_reversed<true>>(1, BulkSlots::kThreads, sizeof(BulkSlots), Stream{}, x.data,
                                    y.data, slots);
      const std::vector<float> found = y.values();
      for (int i = 0; i < slots * kNumbers; ++i)
        ASSERT_EQ(found[static_cast<size_t>(i)], streamed(i)) << i;
    }
  });
}

// The second phase is over neither then nor ever: what is read is not there.
TEST(BulkCopies, PhasesMustBeToldApart) {
  const Floats x(4 * kNumbers), y(4 * kNumbers);
  const std::string message = error_of([&] {
    launch<stream_reversed<false>>(1, BulkSlots::kThreads, sizeof(BulkSlots), Stream{}, x.data,
                                   y.data, 4);
  });
  EXPECT_EQ(y.values()[kNumbers], streamed(kNumbers));
  if (emulator::race::kChecked) {
    EXPECT_REPORT(message, "has not been waited for");
  } else {
    EXPECT_REPORT(message, "the block ends without waiting for its bulk copy");
    EXPECT_TRUE(std::isnan(y.values()[2 * kNumbers]));
  }
}

enum class Misuse {
  none,
  not_initialised,
  twice_initialised,
  overwritten,
  not_synchronised,
  no_arrivals,
  too_many_bytes,
  too_few_bytes,
  too_much_at_once,
  expected_twice,
  misaligned_target,
  misaligned_source,
  misaligned_bytes,
  beyond_shared,
  not_waited_for,
  one_waits,
  refilled_too_early,
  bad_phase
};

// y[t] = x[t] by way of shared memory, in 64 threads.
template <Misuse misuse>
__global__ void copy_64(const float* x, float* y) {
  auto& shared = shared_memory<BulkSlots>();
  CopyBarrier& barrier = shared.barrier[0];
  float* const slot = shared.slot[0];
  const int t = static_cast<int>(threadIdx.x);
  const auto is = [](Misuse m) { return misuse == m; };
  if (t == 0 && !is(Misuse::not_initialised)) {
    initialise(barrier, is(Misuse::no_arrivals) ? 0 : 1);
    if (is(Misuse::twice_initialised)) initialise(barrier, 1);
    if (is(Misuse::overwritten)) barrier.bits = 0;
  }
  if (!is(Misuse::not_synchronised)) __syncthreads();
  if (t == 0) {
    expect_copies(barrier, is(Misuse::too_many_bytes)     ? 240
                           : is(Misuse::too_few_bytes)    ? 272
                           : is(Misuse::too_much_at_once) ? 1 << 20
                                                          : 256);
    if (is(Misuse::expected_twice)) expect_copies(barrier, 256);
    bulk_copy(slot + (is(Misuse::misaligned_target) ? 1 : 0) +
                  (is(Misuse::beyond_shared) ? 2 * kNumbers : 0),
              x + (is(Misuse::misaligned_source) ? 1 : 0), is(Misuse::misaligned_bytes) ? 252 : 256,
              barrier);
  }
  if (is(Misuse::one_waits) ? t == 63 : !is(Misuse::not_waited_for))
    wait_for_copies(barrier, is(Misuse::bad_phase) ? 2 : 0);
  y[t] = slot[t];
  if (is(Misuse::refilled_too_early) && t == 0) {
    expect_copies(barrier, 256);
    bulk_copy(slot, x, 256, barrier);
  }
  if (is(Misuse::refilled_too_early)) wait_for_copies(barrier, 1);
}

template <Misuse misuse>
std::string said(std::vector<float>* result = nullptr) {
  const Floats x(68), y(64);
  const std::string message = error_of(
      [&] { launch<copy_64<misuse>>(1, 64, sizeof(BulkSlots), Stream{}, x.data, y.data); });
  if (result != nullptr) *result = y.values();
  return message;
}

TEST(BulkCopies, Barriers) {
  EXPECT_EQ(said<Misuse::none>(), "");
  EXPECT_REPORT(said<Misuse::not_initialised>(), "the barrier is not initialised");
  EXPECT_REPORT(said<Misuse::overwritten>(), "or was overwritten");
  EXPECT_REPORT(said<Misuse::twice_initialised>(), "the barrier is initialised already");
  EXPECT_REPORT(said<Misuse::no_arrivals>(), "a barrier for 0 arrivals");
  EXPECT_REPORT(said<Misuse::expected_twice>(), "last phase were waited for");
  EXPECT_REPORT(said<Misuse::bad_phase>(), "phase 2: 0 or 1 is needed");
  emulator::set_order(emulator::Order::parse("reverse"));
  EXPECT_REPORT(said<Misuse::not_synchronised>(), "the barrier is not initialised");
  emulator::set_order({});
}
TEST(BulkCopies, NobodyUsesABarrierBeforeItIsInitialisedForAll) {
  if (!emulator::race::kChecked) GTEST_SKIP() << "only the race checker sees it in this order";
  EXPECT_REPORT(said<Misuse::not_synchronised>(), "data race");
}
TEST(BulkCopies, Bytes) {
  EXPECT_REPORT(said<Misuse::too_many_bytes>(), "16 bytes more were copied than");
  EXPECT_REPORT(said<Misuse::too_few_bytes>(), "deadlock");
  EXPECT_REPORT(said<Misuse::too_few_bytes>(), "which lacks 0 arrivals and 16 bytes");
  EXPECT_REPORT(said<Misuse::too_much_at_once>(), "1048576 bytes to expect: at most 1048575");
  EXPECT_REPORT(said<Misuse::misaligned_bytes>(), "a bulk copy of 252 bytes");
  EXPECT_REPORT(said<Misuse::misaligned_target>(), "is not a multiple of 16");
  EXPECT_REPORT(said<Misuse::misaligned_source>(), "is not a multiple of 16");
  EXPECT_REPORT(said<Misuse::beyond_shared>(), "does not lie in the");
}
TEST(BulkCopies, EachReaderWaits) {
  std::vector<float> y;
  const std::string nobody = said<Misuse::not_waited_for>();
  const std::string one = said<Misuse::one_waits>(&y);
  if (emulator::race::kChecked) {
    EXPECT_REPORT(nobody, "read of 4 bytes, byte");  // before the copy starts, or later
    EXPECT_REPORT(one, "has not been waited for");
  } else {
    EXPECT_REPORT(nobody, "the block ends without waiting for its bulk copy");
    EXPECT_EQ(one, "");
    EXPECT_TRUE(std::isnan(y[5]));
    EXPECT_EQ(y[63], 63.0f / 4);
  }
}
TEST(BulkCopies, ReadersAreDoneBeforeTheNextCopy) {
  if (!emulator::race::kChecked) GTEST_SKIP() << "only the race checker sees it in every order";
  EXPECT_REPORT(said<Misuse::refilled_too_early>(), "has not been waited for");
  emulator::set_order(emulator::Order::parse("reverse"));  // the copy starts after all reads
  EXPECT_REPORT(said<Misuse::refilled_too_early>(), "data race");
  emulator::set_order({});
}

// Two copies: the first thread waits for the first one, the others for the second.
__global__ void wait_for_another(const float* x, float* y) {
  auto& shared = shared_memory<BulkSlots>();
  if (threadIdx.x == 0)
    for (int s = 0; s < 2; ++s) {
      initialise(shared.barrier[s], 1);
      expect_copies(shared.barrier[s], 256);
      bulk_copy(shared.slot[s], x, 256, shared.barrier[s]);
    }
  __syncthreads();
  wait_for_copies(shared.barrier[threadIdx.x == 0 ? 0 : 1], 0);
  y[threadIdx.x] = shared.slot[0][threadIdx.x];
}
TEST(BulkCopies, AWaitIsForOneCopy) {
  const Floats x(64), y(64);
  const std::string message = error_of(
      [&] { launch<wait_for_another>(1, 64, sizeof(BulkSlots), Stream{}, x.data, y.data); });
  if (!emulator::race::kChecked) GTEST_SKIP() << "by luck the bytes are there";
  EXPECT_REPORT(message, "are not ordered by wait_for_copies()");
}

// A phase that is over may be waited for again; before the first one, that with parity 1 is.
__global__ void wait_again(const float* x, float* y) {
  auto& shared = shared_memory<BulkSlots>();
  if (threadIdx.x == 0) initialise(shared.barrier[0], 2);
  __syncthreads();
  wait_for_copies(shared.barrier[0], 1);
  if (threadIdx.x < 2) {
    expect_copies(shared.barrier[0], 64);
    bulk_copy(shared.slot[0] + 16 * threadIdx.x, x + 16 * threadIdx.x, 64, shared.barrier[0]);
  }
  wait_for_copies(shared.barrier[0], 0);
  wait_for_copies(shared.barrier[0], 0);
  y[threadIdx.x] = shared.slot[0][31 - threadIdx.x];
}
TEST(BulkCopies, WaitsForPhasesThatAreOver) {
  in_every_order([] {
    const Floats x(32), y(32);
    launch<wait_again>(1, 32, sizeof(BulkSlots), Stream{}, x.data, y.data);
    const std::vector<float> found = y.values();
    for (int i = 0; i < 32; ++i)
      EXPECT_EQ(found[static_cast<size_t>(i)], static_cast<float>(31 - i) / 4);
  });
}

}  // namespace
}  // namespace diffscm::kernels::emu
