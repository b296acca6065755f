#include "kernels/softgpu/profiling.h"

#include <memory>

#include "kernels/softgpu/driver.h"
#include "kernels/softgpu/profile.h"

namespace diffscm::softgpu {
namespace {

Profile& part() {
  static Profile only(driver().device);
  return only;
}

void begin() {
  const std::lock_guard lock(driver_mutex());
  part().forget();
  Profile::set_current(&part());
}

void forget() {
  const std::lock_guard lock(driver_mutex());
  part().forget();
}

void end() {
  const std::lock_guard lock(driver_mutex());
  Profile::set_current(nullptr);
}

}  // namespace

const Profiling* diffscm_softgpu_profiling() {
  static const Profiling functions{begin,
                                   forget,
                                   end,
                                   [] { return part().kernels(); },
                                   [](size_t most) { return part().lines(most); },
                                   [] { return part().timeline(); },
                                   [] { return part().json(); }};
  return &functions;
}

}  // namespace diffscm::softgpu
