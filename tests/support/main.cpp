#include <gtest/gtest.h>

#include "tensor/backends.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  relume::register_backends();
  return RUN_ALL_TESTS();
}
