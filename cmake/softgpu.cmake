# The CUDA device in software (kernels/softgpu): what nvcc compiled, run without a GPU.
option(DIFFSCM_SOFTGPU "Build the CUDA device in software and its tests (needs nvcc)" ON)
if(NOT DIFFSCM_CUDA OR NOT DIFFSCM_TESTS OR DIFFSCM_SANITIZE OR DIFFSCM_EMU_RACE)
  set(DIFFSCM_SOFTGPU OFF)
endif()
if(DIFFSCM_SOFTGPU)
  find_package(OpenMP REQUIRED)
  # nvcc compresses what it puts into objects.
  pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
  pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
endif()

# diffscm_use_softgpu(<program>): it runs on that device instead of the CUDA runtime. kernels/cuda
# asks for the one or the other by the program's property.
function(diffscm_use_softgpu program)
  add_dependencies(${program} softgpu_cublas softgpu_cudnn)
  set_target_properties(${program} PROPERTIES DIFFSCM_SOFTGPU ON CUDA_RUNTIME_LIBRARY None
    BUILD_RPATH ${CMAKE_BINARY_DIR}/softgpu)
endfunction()

# diffscm_add_softgpu(<name> <program>): <name> is <program> linked again, from the same objects.
function(diffscm_add_softgpu name program)
  add_executable(${name} $<TARGET_OBJECTS:${program}>)
  get_target_property(libraries ${program} LINK_LIBRARIES)
  target_link_libraries(${name} PRIVATE ${libraries})
  diffscm_use_softgpu(${name})
endfunction()
