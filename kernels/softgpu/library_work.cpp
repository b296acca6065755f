#include "kernels/softgpu/library_work.h"

#include "kernels/softgpu/driver.h"
#include "kernels/softgpu/region.h"

namespace diffscm::softgpu {

cudaError_t queue_library_work(const char* name, cudaStream_t stream, std::vector<Touched> touched,
                               std::function<void()> run) {
  return call(name, [&](Driver& d) {
    std::vector<Region> regions;
    for (const Touched& t : touched) {
      if (t.bytes == 0) continue;
      regions.emplace_back(d.memory, t.address, t.bytes, "it uses");
      demand(regions.back().kind() != Region::Kind::pageable, cudaErrorInvalidValue,
             "{} is not device memory", fmt::ptr(t.address));
    }
    d.submit(*d.stream(stream), name,
             [&memory = d.memory, regions = std::move(regions), run = std::move(run)] {
               memory.open();
               for (const Region& r : regions) r.get(memory);
               run();
             });
  });
}

}  // namespace diffscm::softgpu
