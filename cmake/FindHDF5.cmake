# The serial C library of HDF5 as HDF5::hdf5. CMake's own module needs the C language enabled and links all that h5cc names.
find_path(HDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
find_library(HDF5_LIBRARY NAMES hdf5 hdf5_serial PATH_SUFFIXES hdf5/serial)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(HDF5 REQUIRED_VARS HDF5_LIBRARY HDF5_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libhdf5-dev")
mark_as_advanced(HDF5_INCLUDE_DIR HDF5_LIBRARY)
if(HDF5_FOUND AND NOT TARGET HDF5::hdf5)
  add_library(HDF5::hdf5 UNKNOWN IMPORTED)
  set_target_properties(HDF5::hdf5 PROPERTIES IMPORTED_LOCATION ${HDF5_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${HDF5_INCLUDE_DIR})
endif()
