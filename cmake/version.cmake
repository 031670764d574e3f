# Facts about this build for base/version.cpp, and for that file alone. Include after the packages are found.

set(revision unknown)
find_package(Git QUIET)
if(GIT_FOUND AND EXISTS ${PROJECT_SOURCE_DIR}/.git)
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty --exclude=* --abbrev=10
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE described RESULT_VARIABLE failed
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(revision ${described})
  endif()
  # A commit or a checkout configures again, so that what a run records is not an older revision.
  if(EXISTS ${PROJECT_SOURCE_DIR}/.git/logs/HEAD)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/.git/logs/HEAD)
  endif()
endif()

set(libraries "")
foreach(pair "fmt=${fmt_VERSION}" "yaml-cpp=${yaml-cpp_VERSION}" "nlohmann-json=${nlohmann_json_VERSION}"
        "CLI11=${CLI11_VERSION}" "libjpeg API=${JPEG_VERSION}" "libpng=${PNG_VERSION_STRING}" "OpenMP=${OpenMP_CXX_VERSION}")
  if(NOT pair MATCHES "=$")
    string(REPLACE "=" " " fact ${pair})
    list(APPEND libraries ${fact})
  endif()
endforeach()
list(JOIN libraries ", " libraries)

set_source_files_properties(base/version.cpp PROPERTIES COMPILE_DEFINITIONS
  "RELUME_VERSION=\"${PROJECT_VERSION}\";RELUME_GIT_REVISION=\"${revision}\";RELUME_BUILD_TYPE=\"${CMAKE_BUILD_TYPE}\";\
RELUME_INSTRUCTIONS=\"$<IF:$<BOOL:${RELUME_NATIVE}>,native,x86-64-v3>\";\
RELUME_CUDA_BUILT=\"$<IF:$<BOOL:${RELUME_HAVE_CUDA}>,yes,no>\";\
RELUME_SANITIZERS=\"${RELUME_SANITIZE}\";RELUME_LIBRARIES=\"${libraries}\"")
