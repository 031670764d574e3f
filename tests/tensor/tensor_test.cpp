#include "tensor/core/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "base/machine.h"
#include "tensor/kernels/all.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

TEST(Shape, RefusesWhatCannotBe) {
  EXPECT_THROW((Shape{2, -1}), InputError);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), InputError);
  EXPECT_THROW((Shape{int64_t(1) << 40, int64_t(1) << 40}.numel()), InputError);
  EXPECT_THROW((Shape{2, 3}[2]), InputError);
  EXPECT_EQ((Shape{2, 3}[-1]), 3);
  EXPECT_EQ(Shape{}.numel(), 1);
}

TEST(Tensor, PrintsWhatItIs) {
  std::ostringstream out;
  out << Tensor::zeros({1, 32, 32, 64}) << ' ' << Tensor();
  EXPECT_EQ(out.str(), "f32 cpu [1, 32, 32, 64] undefined");
}

TEST(Tensor, CopyingSharesAndCloneCopies) {
  const Tensor a = Tensor::full({3}, 1), shared = a, copied = a.clone();
  a.data<float>()[0] = 5;
  EXPECT_EQ(shared.data<float>()[0], 5);
  EXPECT_EQ(copied.data<float>()[0], 1);
}

TEST(Tensor, ColumnsAreViewsWithAPitch) {
  const Tensor whole = Tensor::of<float>({2, 5}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Tensor part = whole.columns(1, 3);
  EXPECT_EQ(part.pitch(), 5);
  EXPECT_FALSE(part.is_dense());
  EXPECT_TRUE(test::same_bits(part, Tensor::of<float>({2, 2}, {1, 2, 6, 7})));
  EXPECT_TRUE(test::same_bits(part.reshape({1, 2, 2}), Tensor::of<float>({1, 2, 2}, {1, 2, 6, 7})));
  EXPECT_THROW(part.reshape({4}), InputError);
  part.copy_from(Tensor::full({2, 2}, -1));
  EXPECT_EQ(whole.data<float>()[6], -1);
  EXPECT_EQ(whole.data<float>()[5], 5);
}

TEST(Tensor, SlicesOfTheFirstAxisKeepThePitch) {
  const Tensor whole = Tensor::of<float>({3, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  EXPECT_TRUE(test::same_bits(whole.columns(2, 4).slice(1, 3), Tensor::of<float>({2, 2}, {6, 7, 10, 11})));
  EXPECT_THROW(whole.slice(2, 4), InputError);
}

TEST(Tensor, WrongTypeAndUndefinedAreErrors) {
  EXPECT_THROW(Tensor::zeros({1}).data<double>(), InputError);
  EXPECT_THROW(Tensor().shape(), InputError);
  EXPECT_THROW(Tensor::zeros({2}).item(), InputError);
  EXPECT_THROW(Tensor::zeros({1}, DType::f32, {DeviceKind::cuda, 0}), InputError);
  EXPECT_THROW(Tensor::zeros({2}).copy_from(Tensor::zeros({2}, DType::f64)), InputError);
}

TEST(Storage, DerivedCopiesAreKeptFromTheSecondUseOfAVersionOn) {
  const Tensor t = Tensor::zeros({4});
  int made = 0;
  const auto get = [&](uint64_t key) {
    const auto made_now = [&](MemoryUse) { return std::shared_ptr<void>(std::make_shared<int>(++made)); };
    return std::weak_ptr<void>(t.storage()->derived_if_reused(key, made_now));
  };
  EXPECT_TRUE(get(1).expired()) << "used once: not kept";
  const std::weak_ptr<void> kept = get(1);
  EXPECT_FALSE(kept.expired());
  EXPECT_EQ(kept.lock(), get(1).lock());
  EXPECT_EQ(made, 2);
  get(2);
  EXPECT_EQ(made, 3);
  t.storage()->bump_version();
  get(2);
  EXPECT_TRUE(kept.expired()) << "of an older version";
  EXPECT_TRUE(get(1).expired());
  EXPECT_EQ(made, 5);
}

TEST(Storage, CountsMemory) {
  Allocator& pool = allocator({});
  const int64_t before = pool.bytes_in_use();
  {
    const Tensor t = Tensor::empty({1 << 20});
    EXPECT_GE(pool.bytes_in_use(), before + (4 << 20));
    EXPECT_GE(pool.peak_bytes(), before + (4 << 20));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % 64, 0u);
  }
  EXPECT_EQ(pool.bytes_in_use(), before);
  pool.trim();
}

void touch(const Storage& block) { std::memset(block.data(), 1, size_t(block.bytes())); }

// Of a large network the eighth that the pool may hold unused would be more than all that is computed.
TEST(Storage, WhatIsKeptLetsThePoolHoldNoMore) {
  constexpr int64_t megabyte = int64_t(1) << 20;
  allocator({}).trim();
  const Storage kept({}, 4096 * megabyte, MemoryUse::kept);
  const int64_t before = resident_bytes();
  std::optional<Storage> first(std::in_place, Device{}, 64 * megabyte), between(std::in_place, Device{}, 16 * megabyte),
      second(std::in_place, Device{}, 64 * megabyte);
  touch(*first), touch(*between), touch(*second);
  first.reset(), second.reset();
  EXPECT_NEAR(double(resident_bytes() - before), 144.0 * megabyte, 8.0 * megabyte) << "held for the next ones";
  const Storage large({}, 128 * megabyte);
  touch(large);
  EXPECT_LE(resident_bytes() - before, 170 * megabyte) << "144 are in use, and an eighth";
}

// Pages that were written once need not be cleared again.
TEST(Storage, FreedPagesServeBlocksOfOtherSizes) {
  constexpr int64_t megabyte = int64_t(1) << 20;
  allocator({}).trim();
  const Storage elsewhere({}, 4 * megabyte);
  const auto use = [](std::vector<int64_t> sizes) {
    std::vector<std::unique_ptr<Storage>> blocks;
    for (const int64_t size : sizes) touch(*blocks.emplace_back(std::make_unique<Storage>(Device{}, size * megabyte)));
    return resident_bytes();
  };
  const int64_t before = use({96});
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{32, 48}, {20, 20, 20, 30}, {90}, {3, 3, 3, 64}})
    EXPECT_LE(use(sizes) - before, 2 * megabyte) << sizes.size() << " blocks";
  EXPECT_LE(use({108}) - before, 14 * megabyte) << "grown by twelve";
  allocator({}).trim();
}

TEST(Storage, WhatCannotBeHadIsAnErrorThatLeavesTheRest) {
  Allocator& pool = allocator({});
  const int64_t before = pool.bytes_in_use();
  try {
    Tensor::empty({int64_t(1) << 46});
    FAIL() << "more than the address space holds was given";
  } catch (const OutOfMemory& e) {
    EXPECT_NE(std::string(e.what()).find("out of memory: 281.5 TB asked for"), std::string::npos) << e.what();
  }
  EXPECT_EQ(pool.bytes_in_use(), before);
  EXPECT_GE(pool.most_held(1000), 1000);
}

TEST(Kernel, AMissingKernelSaysWhatToDo) {
  const Kernel<void()> slot("slot");
  try {
    slot.on({DeviceKind::cuda, 0});
    FAIL() << "nobody filled the slot";
  } catch (const InputError& e) {
    EXPECT_STREQ(e.what(), "slot: no kernel for cuda:0 in this build; move the tensor to the cpu");
  }
}

std::shared_ptr<void> filled(int64_t count, double value) {
  const Tensor t = Tensor::full({count}, value);
  return {t.raw(), [t](void*) {}};
}

// Data with a source is there when it is asked for, and gone where a derived copy takes its place.
TEST(StorageSource, DataComesBackAndMakesRoomForWhatIsDerived) {
  const Tensor t = Tensor::zeros({1000});
  const auto& storage = t.storage();
  int reads = 0;
  const int64_t before = allocator({}).bytes_in_use();
  storage->set_source([&] {
    ++reads;
    return filled(1000, 3);
  });
  EXPECT_LE(allocator({}).bytes_in_use(), before - 4000);
  EXPECT_FALSE(storage->writable());
  EXPECT_EQ(reads, 0);
  EXPECT_EQ(t.data<float>()[999], 3);
  EXPECT_EQ(t.data<float>()[0], 3);
  EXPECT_EQ(reads, 1);
  int made = 0;
  const auto make = [&](MemoryUse use) {
    ++made;
    EXPECT_EQ(use, MemoryUse::kept);
    return std::static_pointer_cast<void>(std::make_shared<float>(t.data<float>()[5]));
  };
  const std::shared_ptr<void> derived = storage->derived_if_reused(1, make);
  EXPECT_EQ(storage->derived_if_reused(1, make), derived) << "kept at once";
  EXPECT_EQ(made, 1);
  EXPECT_LE(allocator({}).bytes_in_use(), before - 4000);
  EXPECT_EQ(t.data<float>()[7], 3);
  EXPECT_EQ(reads, 2);
  EXPECT_THROW(t.copy_from(Tensor::zeros({1000})), InputError);
}

TEST(StorageSource, AFailureLeavesItAsItWas) {
  const Tensor t = Tensor::zeros({4});
  bool fails = true;
  t.storage()->set_source([&] {
    if (fails) throw InputError("damaged");
    return filled(4, 1);
  });
  EXPECT_THROW(t.data<float>(), InputError);
  fails = false;
  EXPECT_EQ(t.data<float>()[3], 1);
}

TEST(StorageSource, ThreadsThatAskAtOnceGetOneCopy) {
  const Tensor t = Tensor::zeros({100});
  std::atomic<int> reads{0};
  t.storage()->set_source([&] {
    ++reads;
    return filled(100, 2);
  });
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { right += t.data<float>()[50] == 2; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(right, 8);
}

}  // namespace
}  // namespace relume
