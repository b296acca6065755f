# The device in software itself.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
add_library(softgpu_test_kernels OBJECT ${CMAKE_CURRENT_LIST_DIR}/kernels.cu)
add_library(softgpu_test_hopper_kernels OBJECT ${CMAKE_CURRENT_LIST_DIR}/warpgroup_kernels.cu)
set_target_properties(softgpu_test_hopper_kernels PROPERTIES CUDA_ARCHITECTURES 90a)
foreach(library softgpu_test_kernels softgpu_test_hopper_kernels)
  target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${library} PRIVATE fmt::fmt)
  target_compile_options(${library} PRIVATE
    -lineinfo --expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1)
endforeach()
add_executable(softgpu_tests ${sources})
target_link_libraries(softgpu_tests PRIVATE softgpu_test_kernels softgpu_test_hopper_kernels
  diffscm_kernels_cuda diffscm_softgpu PkgConfig::ZSTD PkgConfig::LZ4 GTest::gtest GTest::gtest_main)
diffscm_use_softgpu(softgpu_tests)
add_test(NAME softgpu_tests COMMAND softgpu_tests --gtest_brief=1)
# Where kernels wait for their turn.
foreach(setting DIFFSCM_OVERLAP=0 DIFFSCM_SOFTGPU=A100)
  add_test(NAME softgpu_tests.${setting} COMMAND softgpu_tests --gtest_filter=Follow.OurLaunches:Follow.BeforeHopper)
  set_tests_properties(softgpu_tests.${setting} PROPERTIES ENVIRONMENT ${setting})
endforeach()

# The project's own tests on it: the objects of kernels_tests and the others, with target cuda usable.
#   add_softgpu_tests(<name> <program> <filter> [VARIABLE=value ...])
# Each is one test of ctest: a fault of the device lasts for as long as the process. Every launch may
# be early, not only small ones: so that none touches memory too soon unseen.
function(add_softgpu_tests name program filter)
  add_test(NAME softgpu.${name} COMMAND ${program}_softgpu --gtest_brief=1 --gtest_filter=${filter})
  set_tests_properties(softgpu.${name} PROPERTIES TIMEOUT 600 
    ENVIRONMENT "OMP_NUM_THREADS=1;DIFFSCM_OVERLAP=1000000000;${ARGN}")
endfunction()
foreach(folder kernels engine models causal)
  diffscm_add_softgpu(${folder}_tests_softgpu ${folder}_tests)
endforeach()

# Every operator's cases, in three parts that run side by side. Not those that take a GPU's speed, and
# not the comparison with cuDNN, which this device does not have.
set(too_much *LargeBatch*:*LargeMatches*:*Cudnn*)
add_softgpu_tests(convolutions kernels_tests Conv2d.*/cuda*-${too_much})
add_softgpu_tests(norms kernels_tests GroupNorm.*/cuda*-${too_much})
add_softgpu_tests(kernels kernels_tests */cuda*-Conv2d.*:GroupNorm.*:${too_much})
# The ways that are not the first choice, on fewer shapes.
foreach(rung naive tiled taps)
  add_softgpu_tests(convolutions.${rung} kernels_tests Conv2d.*/cuda*-${too_much}
    DIFFSCM_CONV=${rung} DIFFSCM_TEST_WORK=1e5)
endforeach()
# With few multiprocessors it takes the wider tile.
add_softgpu_tests(convolutions.wgmma kernels_tests Conv2d.*/cuda_bf16-${too_much}
  DIFFSCM_CONV=wgmma DIFFSCM_TEST_WORK=1e5)
add_softgpu_tests(convolutions.wgmma_wide kernels_tests Conv2d.*/cuda_bf16-${too_much}
  DIFFSCM_CONV=wgmma DIFFSCM_TEST_WORK=1e5 DIFFSCM_SOFTGPU=H100:2)
add_softgpu_tests(convolutions.mma_weights kernels_tests Conv2d.*Weight*/cuda_bf16:Conv2d.IsRepro*/cuda_bf16
  DIFFSCM_CONV=mma-weights)
add_softgpu_tests(cublas kernels_tests Matmul.*/cuda*-${too_much} DIFFSCM_GEMM=cublas)
add_softgpu_tests(a100 kernels_tests Conv2d.*/cuda*:GroupNorm.*/cuda*:Matmul.*/cuda*-${too_much}
  DIFFSCM_SOFTGPU=A100 DIFFSCM_TEST_WORK=1e5)
add_softgpu_tests(wgmma_on_a100 kernels_tests Conv2d.ForwardMatchesReference/cuda_bf16
  DIFFSCM_CONV=wgmma DIFFSCM_SOFTGPU=A100)
set_tests_properties(softgpu.wgmma_on_a100 PROPERTIES
  PASS_REGULAR_EXPRESSION "DIFFSCM_CONV=wgmma: this device's compute capability is not 9.0; choose mma")
# Recorded steps, networks, replayed walks and training.
add_softgpu_tests(steps engine_tests */cuda)
add_softgpu_tests(networks models_tests */cuda)
add_softgpu_tests(replays causal_tests *ReplayTest*/cuda:*KeptTest*/cuda)

# The program, as a user runs it.
add_executable(commands_tests_softgpu apps/devices_test.cpp softgpu/commands/profile_test.cpp)
target_link_libraries(commands_tests_softgpu PRIVATE diffscm_models GTest::gtest GTest::gtest_main)
target_compile_definitions(commands_tests_softgpu PRIVATE
  DIFFSCM_PROGRAM="$<TARGET_FILE:diffscm-softgpu>")
diffscm_use_softgpu(commands_tests_softgpu)
add_dependencies(commands_tests_softgpu diffscm-softgpu)
add_softgpu_tests(commands commands_tests */cuda)
add_softgpu_tests(profile commands_tests Profile.*)

# A driver that is older than the program, and a device that does not exist: one line that says what
# to do.
function(add_softgpu_refusal name setting pattern)
  add_test(NAME softgpu.${name} COMMAND diffscm-softgpu targets)
  set_tests_properties(softgpu.${name} PROPERTIES
    ENVIRONMENT ${setting} PASS_REGULAR_EXPRESSION "${pattern}")
endfunction()
add_softgpu_refusal(old_driver DIFFSCM_SOFTGPU_DRIVER=11.8
  "too old: it supports CUDA 11.8, this program was built with CUDA 1[0-9.]+, which needs driver [0-9.]+ or later")
add_softgpu_refusal(unknown_device DIFFSCM_SOFTGPU=K20 "K20: unknown device, choose H100, H200 or A100")

# The learner's page, every command of it.
find_program(DIFFSCM_PYTHON python3)
if(DIFFSCM_PYTHON)
  add_test(NAME first_hour COMMAND ${DIFFSCM_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/first_hour_test.py
    ${PROJECT_SOURCE_DIR}/docs/kernels/first_hour.md ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
    ${CMAKE_CURRENT_BINARY_DIR}/first_hour ${CMAKE_CUDA_COMPILER})
  set_tests_properties(first_hour PROPERTIES ENVIRONMENT OMP_NUM_THREADS=1 TIMEOUT 600)
endif()

# What ptxas made of the hot kernels, where there is a disassembler (NVIDIA's nvdisasm).
find_program(DIFFSCM_NVDISASM nvdisasm HINTS ${CUDAToolkit_BIN_DIR})
if(DIFFSCM_PYTHON AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  add_executable(softgpu_cubin softgpu/sass/cubin.cpp)
  target_link_libraries(softgpu_cubin PRIVATE diffscm_softgpu)
  add_test(NAME kernel_sass
    COMMAND ${DIFFSCM_PYTHON} ${PROJECT_SOURCE_DIR}/scripts/kernel_sass.py --check ${PROJECT_BINARY_DIR})
  set_tests_properties(kernel_sass PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  if(DIFFSCM_NVDISASM)
    set_tests_properties(kernel_sass PROPERTIES ENVIRONMENT NVDISASM=${DIFFSCM_NVDISASM})
  endif()
endif()
