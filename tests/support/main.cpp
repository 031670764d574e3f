#include <gtest/gtest.h>

#include <cstdlib>

#include "tensor/backends.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  setenv("RELUME_SOURCE_DIR", RELUME_PROJECT_FOLDER, 0);  // where fixtures and shipped configurations lie
  relume::register_backends();
  return RUN_ALL_TESTS();
}
