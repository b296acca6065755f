# The device in software itself, and then the project's own tests on it: the same objects as those of
# kernels_tests and engine_tests, with target cuda usable.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
add_library(softgpu_test_kernels OBJECT ${CMAKE_CURRENT_LIST_DIR}/kernels.cu)
target_include_directories(softgpu_test_kernels PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(softgpu_test_kernels PRIVATE -lineinfo)
add_executable(softgpu_tests ${sources})
target_link_libraries(softgpu_tests PRIVATE softgpu_test_kernels
  diffscm_softgpu PkgConfig::ZSTD PkgConfig::LZ4 GTest::gtest GTest::gtest_main)
diffscm_use_softgpu(softgpu_tests)
add_test(NAME softgpu_tests COMMAND softgpu_tests --gtest_brief=1)

foreach(folder kernels engine)
  diffscm_add_softgpu(${folder}_tests_softgpu ${folder}_tests)
endforeach()
