#include "data/checkpoint/memory_source.h"

#include <gtest/gtest.h>

namespace relume {
namespace {

TEST(MemorySource, GivesWhatWasAddedInOrder) {
  const MemorySource source{{"b", Tensor::of<float>({2}, {1, 2})}, {"a", Tensor::of<int64_t>({1, 1}, {7})}};
  ASSERT_EQ(source.tensors().size(), 2u);
  EXPECT_EQ(source.tensors()[0].name, "b");
  EXPECT_EQ(source.tensors()[1].shape, (Shape{1, 1}));
  EXPECT_EQ(source.find("a")->dtype, DType::i64);
  EXPECT_EQ(source.find("c"), nullptr);
  EXPECT_EQ(source.read("b").data<float>()[1], 2.f);
}

TEST(MemorySource, RefusesATakenNameAndAnUnknownOne) {
  MemorySource source("weights");
  source.add("a", Tensor::of<float>({1}, {1}));
  EXPECT_THROW(source.add("a", Tensor::of<float>({1}, {1})), InputError);
  EXPECT_THROW(source.read("b"), InputError);
}

}  // namespace
}  // namespace relume
