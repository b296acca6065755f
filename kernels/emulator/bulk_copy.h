// The emulated bodies of kernels/cuda/device/bulk_copy.h. The bytes of a copy arrive at the latest
// moment at which cp.async.bulk may deliver them: when nobody in the block can go on without them.
// Until then the target is poisoned; a thread that does not wait for them reads that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/emulator/builtins.h"
#include "kernels/emulator/site.h"

namespace diffscm::kernels::emulator {

// The barriers of one block, and its copies under way.
class BulkCopies {
 public:
  struct Barrier {
    void* at = nullptr;
    int arrivals = 0, missing_arrivals = 0;  // of a phase; still to come in the present one
    int64_t missing_bytes = 0;               // below 0: more have come than were expected
    int phase = 0;                           // its parity
    bool awaited = false;
    unsigned number = 0, last = 0;  // of the phase, and of the last complete one, in the block
  };
  struct Copy {
    void* to = nullptr;
    const void* from = nullptr;
    size_t bytes = 0;
    void* barrier = nullptr;
    unsigned thread = 0;  // its rank
    Site site;
  };

  void clear() { *this = {}; }
  void add(void* at, int arrivals);
  // Null unless there is a barrier that nobody has written over.
  Barrier* find(void* at);
  void start(const Copy& copy) { copies_.push_back(copy); }
  const Copy* under_way() const { return copies_.empty() ? nullptr : &copies_.front(); }

  // Carries out the copies for some barrier that threads wait for. Null: there are none.
  Barrier* carry_out();
  void begin_phase(Barrier& barrier);

 private:
  std::vector<Barrier> barriers_;
  std::vector<Copy> copies_;
  unsigned phases_ = 0;
};

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

void emulate_initialise(void* barrier, int arrivals, DIFFSCM_EMU_CALLER);
void emulate_expect_copies(void* barrier, int bytes, DIFFSCM_EMU_CALLER);
void emulate_bulk_copy(void* shared, const void* global, int bytes, void* barrier,
                       DIFFSCM_EMU_CALLER);
void emulate_wait_for_copies(void* barrier, int phase, DIFFSCM_EMU_CALLER);

}  // namespace diffscm::kernels::emu
