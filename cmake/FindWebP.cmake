# libwebp with its container libraries (profiles, orientation) as WebP::webp.
find_path(WebP_INCLUDE_DIR webp/decode.h)
foreach(part webp webpdemux webpmux)
  find_library(WebP_${part}_LIBRARY ${part})
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(WebP
  REQUIRED_VARS WebP_webp_LIBRARY WebP_webpdemux_LIBRARY WebP_webpmux_LIBRARY WebP_INCLUDE_DIR)
if(WebP_FOUND AND NOT TARGET WebP::webp)
  add_library(WebP::webp UNKNOWN IMPORTED)
  set_target_properties(WebP::webp PROPERTIES IMPORTED_LOCATION ${WebP_webp_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${WebP_INCLUDE_DIR}
    INTERFACE_LINK_LIBRARIES "${WebP_webpmux_LIBRARY};${WebP_webpdemux_LIBRARY}")
endif()
