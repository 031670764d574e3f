#include "tensor/kernels/gather.h"

#include <gtest/gtest.h>

#include "tests/support/numbers.h"
#include "tests/support/threads.h"

namespace relume::test {
namespace {

TEST(ScatterAddRows, SameOnAnyNumberOfThreads) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < 5000; ++i) numbers.push_back(i * i % 97);
  const Tensor ids = Tensor::of<int64_t>({5000}, numbers), dy = uniform({5000, 61}, 1);
  expect_same_on_any_threads([&] {
    const Tensor dtable = Tensor::empty({100, 61});
    kernels::scatter_add_rows.on({})(dtable, dy, ids);
    return dtable;
  });
}

}  // namespace
}  // namespace relume::test
