# Build rules shared by every folder: flags, and the two functions that declare a library and a test program.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug or RelWithDebInfo" FORCE)
endif()

find_program(RELUME_CCACHE ccache)
if(RELUME_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RELUME_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${RELUME_CCACHE})
endif()

# Every target of this project takes its flags from here. No -ffast-math: results are the same wherever the code runs;
# -fno-math-errno and -fno-trapping-math only let loops be vectorised (design D2). -Wrestrict is off because GCC 12 raises it
# falsely for std::string concatenation (GCC bug 105651); -Wpass-failed because clang raises it wherever it does not vectorise a
# loop that GCC does.
add_library(relume_flags INTERFACE)
target_include_directories(relume_flags INTERFACE ${PROJECT_SOURCE_DIR})
set(RELUME_WARNINGS -Wall -Wextra -Wshadow -Wno-missing-field-initializers)
target_compile_options(relume_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${RELUME_WARNINGS};-fno-math-errno;-fno-trapping-math>"
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict> $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-pass-failed>
  $<$<COMPILE_LANGUAGE:CXX>:$<IF:$<BOOL:${RELUME_NATIVE}>,-march=native,-march=x86-64-v3>>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${RELUME_WERROR}>>:-Werror>)
# nvcc: constexpr functions run on the device too; a spilled register is a warning; the host compiler warns as above, but for
# -Wshadow, which nvcc's own glue raises.
set(RELUME_NVCC_OPTIONS --expt-relaxed-constexpr -Xptxas=--warn-on-spills -Xcompiler=-Wall -Xcompiler=-Wextra
  -Xcompiler=-Wno-missing-field-initializers)
target_compile_options(relume_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${RELUME_NVCC_OPTIONS}>"
  $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${RELUME_WERROR}>>:-Werror=all-warnings>)
if(RELUME_SANITIZE)
  target_compile_options(relume_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${RELUME_SANITIZE} -fno-omit-frame-pointer -g1>)
  target_link_options(relume_flags INTERFACE -fsanitize=${RELUME_SANITIZE})
endif()

# relume_library(name SOURCES files... NEEDS targets...): the library relume::name of the folder `name`. What stands after
# PRIVATE in NEEDS does not reach whoever links it.
function(relume_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;NEEDS" ${ARGN})
  add_library(relume_${name} STATIC ${arg_SOURCES})
  add_library(relume::${name} ALIAS relume_${name})
  target_link_libraries(relume_${name} PUBLIC relume_flags ${arg_NEEDS})
endfunction()

# relume_test(name SOURCES files... NEEDS targets... BACKENDS target PROPERTIES ctest properties...): a GoogleTest program, linked
# with relume::backends or with what stands in for it; its cases become ctest entries, skips included.
function(relume_test name)
  cmake_parse_arguments(arg "" "BACKENDS" "SOURCES;NEEDS;PROPERTIES" ${ARGN})
  if(NOT arg_BACKENDS)
    set(arg_BACKENDS relume::backends)
  endif()
  add_executable(${name}_test ${arg_SOURCES})
  target_link_libraries(${name}_test PRIVATE relume_flags ${arg_NEEDS} relume::test_support ${arg_BACKENDS} GTest::gtest)
  target_precompile_headers(${name}_test PRIVATE <gtest/gtest.h> <string> <vector>)
  gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}. WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES TIMEOUT 600 ENVIRONMENT "RELUME_COMMAND=$<TARGET_FILE:relume>" ${arg_PROPERTIES})
endfunction()

# relume_keep_ptxas_reports(target): what ptxas says of the kernels in NAME.cu (registers, shared memory, spills) is kept in
# NAME.cu.o.ptxas, beside the object.
function(relume_keep_ptxas_reports target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v>)
  set(launcher ${PROJECT_SOURCE_DIR}/cmake/keep_ptxas.sh ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${target} PROPERTIES CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()
