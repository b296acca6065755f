# Checks the direction of includes:  cmake -DROOT=<source tree> -P tests/structure_test.cmake
# A CMake script, because CMake is the one interpreter that every machine building this has.
cmake_minimum_required(VERSION 3.25)

# Each folder includes itself and what stands before it; `data` beside autograd and models, which do
# not know each other.
set(order kernels engine data autograd models diffusion training causal evaluation apps)
set(strangers_data autograd models)
set(strangers_autograd data)
set(strangers_models data)
set(strangers_examples tests bench)

# Headers of outside libraries, as a pattern, and the folders that may include them. `tests` and
# `bench` may include everything but oneDNN, which is a yardstick of `bench` alone.
set(libraries cuda blas onednn)
set(cuda_headers "^(cuda|cublas|cudnn|curand|cooperative_groups|cub/|thrust/|mma\\.h|nvtx)")
set(cuda_folders "^(kernels/(cuda|softgpu)|tests|bench)/")
set(blas_headers "^(cblas|f77blas|openblas|lapack)")
set(blas_folders "^(kernels/cpu|tests|bench)/")
set(onednn_headers "^(dnnl|oneapi/)")
set(onednn_folders "^bench/")

set(problems "")
set(known "")
set(count 0)
foreach(folder ${order} tests bench examples)
  list(APPEND known ${folder})  # so tests may not include bench, and the product neither
  set(allowed ${known})
  list(REMOVE_ITEM allowed ${strangers_${folder}} nothing)
  file(GLOB_RECURSE files RELATIVE ${ROOT}
    ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cpp ${ROOT}/${folder}/*.cu ${ROOT}/${folder}/*.cuh
    ${ROOT}/${folder}/*.in)
  foreach(file ${files})
    math(EXPR count "${count} + 1")
    file(STRINGS ${ROOT}/${file} lines REGEX "^[ \t]*#[ \t]*include")
    foreach(line ${lines})
      if(NOT line MATCHES "include[ \t]*([<\"])([^>\"]+)[>\"]")
        continue()
      endif()
      set(quoted ${CMAKE_MATCH_1})
      set(header ${CMAKE_MATCH_2})
      string(REGEX MATCH "^[^/]+" top ${header})
      if(top IN_LIST order OR top MATCHES "^(tests|bench|examples)$")
        if(NOT top IN_LIST allowed)
          string(APPEND problems "  ${file} includes ${header}: ${folder} must not know ${top}\n")
        elseif(header MATCHES "^kernels/(cpu|cuda|emulator)/" AND
               NOT file MATCHES "^(kernels|engine|tests|bench)/")
          string(APPEND problems "  ${file} includes ${header}: nothing above engine knows the target\n")
        endif()
      elseif(quoted STREQUAL "\"")
        string(APPEND problems "  ${file} includes \"${header}\": write \"folder/${header}\"\n")
      endif()
      foreach(library ${libraries})
        if(header MATCHES "${${library}_headers}" AND NOT file MATCHES "${${library}_folders}")
          string(APPEND problems "  ${file} includes ${header}: ${library} headers do not belong here\n")
        endif()
      endforeach()
    endforeach()
  endforeach()
endforeach()

if(count EQUAL 0)
  message(FATAL_ERROR "no source file under ${ROOT}")
elseif(problems)
  message(FATAL_ERROR "includes that point the wrong way:\n${problems}")
endif()
message(STATUS "${count} files, every include points the right way")
