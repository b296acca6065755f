# The emulator itself, and kernels with every kind of bug. The same tests run in builds that check
# more: for data races, and with AddressSanitizer.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)

function(diffscm_emulator_tests name library)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE
    ${library} diffscm_emulator_options OpenMP::OpenMP_CXX GTest::gtest GTest::gtest_main)
  target_compile_options(${name} PRIVATE ${ARGN})
  # One test: its cases are many and short.
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
endfunction()

diffscm_emulator_tests(emulator_tests diffscm_kernels_emulator_runtime
  $<$<BOOL:${DIFFSCM_EMU_RACE}>:-fsanitize=thread>)
if(TARGET diffscm_kernels_emulator_race)
  diffscm_emulator_tests(emulator_race_tests diffscm_kernels_emulator_race_runtime -fsanitize=thread)
  diffscm_emulator_tests(emulator_asan_tests diffscm_kernels_emulator_asan_runtime
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()

# Every operator's small cases in the checking builds. The tests' objects are those of kernels_tests;
# only the emulator and its kernels are others.
function(diffscm_checked_kernels_tests name library)
  add_executable(${name} $<TARGET_OBJECTS:kernels_tests>)
  target_link_libraries(${name} PRIVATE ${library} $<TARGET_FILE:diffscm_kernels>
    $<TARGET_NAME_IF_EXISTS:diffscm_kernels_cuda>
    OpenMP::OpenMP_CXX GTest::gtest GTest::gtest_main)
  add_dependencies(${name} diffscm_kernels)
  # Running twice finds nothing here.
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1
    --gtest_filter=*/emu*-*Reproducible*:*BitsDoNotDepend*)
  add_test(NAME ${name}.wgmma COMMAND ${name} --gtest_brief=1
    --gtest_filter=Conv2d.*/emu_bf16-*Reproducible*)
  set_tests_properties(${name} ${name}.wgmma PROPERTIES TIMEOUT 600)
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "OMP_NUM_THREADS=1;DIFFSCM_TEST_WORK=2e4")
  set_tests_properties(${name}.wgmma PROPERTIES
    ENVIRONMENT "OMP_NUM_THREADS=1;DIFFSCM_TEST_WORK=2e4;DIFFSCM_CONV=wgmma;DIFFSCM_EMU_MULTIPROCESSORS=2")
endfunction()
if(TARGET diffscm_kernels_emulator_race)
  diffscm_checked_kernels_tests(kernels_race_tests diffscm_kernels_emulator_race)
  diffscm_checked_kernels_tests(kernels_asan_tests diffscm_kernels_emulator_asan)
endif()

# And the one kernel that is no operator's, through the network that it computes. (The engine's
# libraries are named because the engine itself would bring the other emulator.)
function(diffscm_checked_whole_network name library)
  add_executable(${name} $<TARGET_OBJECTS:models_tests>)
  target_link_libraries(${name} PRIVATE $<TARGET_FILE:diffscm_models> $<TARGET_FILE:diffscm_autograd>
    $<TARGET_FILE:diffscm_engine> $<TARGET_FILE:diffscm_kernels> ${library} $<TARGET_FILE:diffscm_kernels>
    $<TARGET_NAME_IF_EXISTS:diffscm_kernels_cuda>
    ZLIB::ZLIB PNG::PNG JPEG::JPEG PkgConfig::WEBP PkgConfig::LIBARCHIVE CURL::libcurl
    OpenSSL::Crypto PkgConfig::LIBZIP OpenMP::OpenMP_CXX GTest::gtest GTest::gtest_main)
  add_dependencies(${name} diffscm_models)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1 --gtest_filter=*WholeNetwork*ASmallOne/emu)
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT OMP_NUM_THREADS=1)
endfunction()
if(TARGET diffscm_kernels_emulator_race)
  diffscm_checked_whole_network(whole_network_race_tests diffscm_kernels_emulator_race)
  diffscm_checked_whole_network(whole_network_asan_tests diffscm_kernels_emulator_asan)
endif()
