# Installs, builds examples/ against what was installed and runs it:
#   cmake -DBUILD=<build tree> -DEXAMPLES=<examples> -DSCRATCH=<folder to use> -DGENERATOR=<CMake's>
#         -DCOMPILER=<c++> -P tests/install_test.cmake
cmake_minimum_required(VERSION 3.25)

function(run)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "IN;OUT" "COMMAND")
  execute_process(COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${arg_IN}
    OUTPUT_VARIABLE out ERROR_VARIABLE out RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${arg_COMMAND}: ${result}\n${out}")
  endif()
  if(arg_OUT)
    set(${arg_OUT} "${out}" PARENT_SCOPE)
  endif()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
set(prefix ${SCRATCH}/prefix)
run(IN ${SCRATCH} COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})

# Nothing below may need the source tree.
set(weights ${prefix}/share/diffscm/weights)
run(IN ${SCRATCH} OUT out COMMAND ${prefix}/bin/diffscm inspect ${weights}/digits-unet.safetensors)
if(NOT out MATCHES "unet")
  message(FATAL_ERROR "the installed program does not know the installed weights:\n${out}")
endif()
run(IN ${SCRATCH} OUT out COMMAND ${prefix}/bin/diffscm inspect digits-unet)
foreach(file share/diffscm/configs/mnist-fast.toml share/diffscm/weights/mnist-oracle.safetensors
    include/diffscm/kernels/operators.h include/diffscm/evaluation/methods.h)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()
# Once the program can write them, they are there and say what they are.
if(EXISTS ${EXAMPLES}/../apps/generate.cpp)
  foreach(file share/man/man1/diffscm.1 share/bash-completion/completions/diffscm
      share/zsh/site-functions/_diffscm)
    file(READ ${prefix}/${file} text)
    if(NOT text MATCHES "counterfactual")
      message(FATAL_ERROR "${file} does not know the commands:\n${text}")
    endif()
  endforeach()
endif()
foreach(file include/diffscm/kernels/cpu include/diffscm/kernels/emulator)
  if(EXISTS ${prefix}/${file})
    message(FATAL_ERROR "installed, but an inner part: ${file}")
  endif()
endforeach()

file(COPY ${EXAMPLES}/ DESTINATION ${SCRATCH}/examples)
run(IN ${SCRATCH} COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S examples -B build
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_BUILD_TYPE=Debug)
run(IN ${SCRATCH} COMMAND ${CMAKE_COMMAND} --build build)
run(IN ${SCRATCH} OUT out COMMAND build/counterfactual 10)
# Eight answers, each finite and another image than the factual.
string(REGEX MATCHALL
  "image [0-9]: a [0-9], do.digit=5.: p.5. = [01]\\.[0-9]+, [0-9]+\\.[0-9]+ grey levels" lines "${out}")
list(FILTER lines EXCLUDE REGEX " 0\\.00 grey levels")
list(LENGTH lines count)
if(NOT count EQUAL 8)
  message(FATAL_ERROR "expected eight counterfactuals:\n${out}")
endif()
if(NOT EXISTS ${SCRATCH}/counterfactual.npz)
  message(FATAL_ERROR "the example wrote no images")
endif()
message(STATUS "${out}")
