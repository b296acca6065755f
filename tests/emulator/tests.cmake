# The emulator itself.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/emulator/*.cpp)
add_executable(emulator_tests ${sources})
target_link_libraries(emulator_tests PRIVATE
  diffscm_kernels_emulator OpenMP::OpenMP_CXX GTest::gtest GTest::gtest_main)
# As the kernel files are compiled.
target_compile_options(emulator_tests PRIVATE -g1 -fno-strict-aliasing -ffp-contract=off -Wno-unknown-pragmas)
gtest_discover_tests(emulator_tests DISCOVERY_TIMEOUT 60)
