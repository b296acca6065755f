# cmake --install: the program, its manual and completions, weights, presets, and the libraries with
# headers and a CMake package (find_package(diffscm); link diffscm::evaluation or any other folder).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(folders kernels engine data autograd models diffusion training causal evaluation)
set(share ${CMAKE_INSTALL_DATADIR}/diffscm)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/diffscm)

install(TARGETS diffscm)
install(DIRECTORY weights DESTINATION ${share} FILES_MATCHING PATTERN "*.safetensors" PATTERN "*.md")
install(DIRECTORY configs DESTINATION ${share} FILES_MATCHING PATTERN "*.toml")
install(DIRECTORY graphs DESTINATION ${share} FILES_MATCHING PATTERN "*.toml" PATTERN "*.bif")
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The program writes its own manual and completions, from the one list of its flags.
if(EXISTS ${PROJECT_SOURCE_DIR}/apps/generate.cpp)
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  foreach(kind man bash zsh)
    install(CODE "execute_process(COMMAND $<TARGET_FILE:diffscm> generate ${kind}
      OUTPUT_FILE ${generated}/${kind} COMMAND_ERROR_IS_FATAL ANY)")
  endforeach()
  install(FILES ${generated}/man DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME diffscm.1)
  install(FILES ${generated}/bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME diffscm)
  install(FILES ${generated}/zsh
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _diffscm)
endif()

# Headers keep their folders, so that an installed program writes #include "causal/counterfactual.h"
# as ours do. What a target is made of inside stays here.
set(headers ${CMAKE_INSTALL_INCLUDEDIR}/diffscm)
foreach(folder ${folders})
  install(DIRECTORY ${folder} DESTINATION ${headers} FILES_MATCHING PATTERN "*.h"
    PATTERN kernels/cpu EXCLUDE PATTERN kernels/cuda EXCLUDE PATTERN kernels/emulator EXCLUDE
    PATTERN kernels/softgpu EXCLUDE)
endforeach()
target_include_directories(diffscm_kernels INTERFACE $<INSTALL_INTERFACE:${headers}>)

set(libraries "")
foreach(folder ${folders})
  list(APPEND libraries diffscm_${folder})
endforeach()
foreach(library diffscm_kernels_emulator diffscm_kernels_emulator_runtime diffscm_kernels_cuda)
  if(TARGET ${library})
    list(APPEND libraries ${library})
  endif()
endforeach()
foreach(library ${libraries})
  string(REPLACE diffscm_ "" name ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${name} EXCLUDE_FROM_ALL FALSE)
endforeach()
install(TARGETS ${libraries} EXPORT diffscm)
install(EXPORT diffscm NAMESPACE diffscm:: DESTINATION ${package} FILE diffscm-targets.cmake)

configure_package_config_file(cmake/diffscm-config.cmake.in
  ${CMAKE_BINARY_DIR}/diffscm-config.cmake INSTALL_DESTINATION ${package}
  PATH_VARS share)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/diffscm-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/diffscm-config.cmake
  ${CMAKE_BINARY_DIR}/diffscm-config-version.cmake DESTINATION ${package})
