// One test, run on every target and, where the operator has both, with f32 and bf16 storage:
//
//   TARGET_TEST(Mse, MatchesReference) { ... d.table.mse({...}); }
//   TYPED_TARGET_TEST(Silu, MatchesReference) { ... d.table.of(BasicSiluArgs<T>{}) ... }
//
// `d` is the Device, T float or bf16. They appear as Mse.MatchesReference/emu and
// Silu.MatchesReference/emu_bf16; the cpu target has no bf16, and cuda is skipped where there is no
// usable GPU. What concerns some targets only says TARGET_TEST_ON("emu cuda", ...).
#pragma once

#include <cstdlib>
#include <string>

#include "kernels/cpu/isa.h"
#include "kernels/cuda/cublas.h"
#include "tests/kernels/device.h"

namespace diffscm::kernels::test {

// ctest runs the cpu target's tests with each instruction set, wherever it runs.
inline bool lacks_isa() {
  const char* value = std::getenv("DIFFSCM_ISA");
  const std::string_view isa = value ? value : "";
  return (isa == "v3" && !cpu::isa_supported(cpu::Isa::kV3)) ||
         (isa == "v4" && !cpu::isa_supported(cpu::Isa::kV4));
}

// Nor can it send matrix products to cuBLAS where there is none.
inline std::string lacks_cublas([[maybe_unused]] const Target& target) {
#ifdef DIFFSCM_WITH_CUDA
  const char* value = std::getenv("DIFFSCM_GEMM");
  if (std::string_view(target.name) == "cuda" && value != nullptr &&
      std::string_view(value) == "cublas")
    return cuda::cublas::unusable();
#endif
  return "";
}

class TargetTest : public testing::Test {
 public:
  using Body = void (*)(Device&);
  TargetTest(const Target& target, Body body) : target_(target), body_(body) {}

  void TestBody() override {
    const std::string reason = target_.runtime().unusable();
    if (!reason.empty()) GTEST_SKIP() << target_.name << ": " << reason;
    if (lacks_isa()) GTEST_SKIP() << "this processor lacks the instructions of DIFFSCM_ISA";
    if (const std::string none = lacks_cublas(target_); !none.empty()) GTEST_SKIP() << none;
    Device device(target_);
    body_(device);
  }

 private:
  const Target& target_;
  Body body_;
};

struct Place {
  const char *suite, *name, *file;
  int line;
};

inline void register_test(const Place& p, const Target& target, TargetTest::Body body,
                          const std::string& suffix) {
  const std::string name = std::string(p.name) + "/" + target.name + suffix;
  testing::RegisterTest(
      p.suite, name.c_str(), nullptr, nullptr, p.file, p.line,
      [&target, body]() -> testing::Test* { return new TargetTest(target, body); });
}

// On those of `targets` (their names in one string) that this build has.
inline bool register_tests(std::string_view targets, const Place& place, TargetTest::Body f32,
                           TargetTest::Body bf16 = nullptr) {
  for (const Target& target : kTargets) {
    const std::string_view name = target.name;
    if (targets.find(name) == std::string_view::npos) continue;
    register_test(place, target, f32, "");
    if (bf16 != nullptr && name != "cpu") register_test(place, target, bf16, "_bf16");
  }
  return true;
}

#define TARGET_TEST_ON(targets, suite, name)                                                 \
  void suite##_##name(::diffscm::kernels::test::Device&);                                    \
  [[maybe_unused]] const bool suite##_##name##_registered =                                  \
      ::diffscm::kernels::test::register_tests(targets, {#suite, #name, __FILE__, __LINE__}, \
                                               suite##_##name);                              \
  void suite##_##name([[maybe_unused]] ::diffscm::kernels::test::Device& d)

#define TYPED_TARGET_TEST_ON(targets, suite, name)                                           \
  template <class T>                                                                         \
  void suite##_##name(::diffscm::kernels::test::Device&);                                    \
  [[maybe_unused]] const bool suite##_##name##_registered =                                  \
      ::diffscm::kernels::test::register_tests(targets, {#suite, #name, __FILE__, __LINE__}, \
                                               suite##_##name<float>,                        \
                                               suite##_##name<::diffscm::kernels::bf16>);    \
  template <class T>                                                                         \
  void suite##_##name([[maybe_unused]] ::diffscm::kernels::test::Device& d)

#define TARGET_TEST(suite, name) TARGET_TEST_ON("cpu emu cuda", suite, name)
#define TYPED_TARGET_TEST(suite, name) TYPED_TARGET_TEST_ON("cpu emu cuda", suite, name)

}  // namespace diffscm::kernels::test
