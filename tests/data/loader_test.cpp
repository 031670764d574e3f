#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>
#include <string>

#include "tensor/core/philox.h"

namespace relume {
namespace {

using std::chrono::milliseconds;

double draw(int64_t step, int64_t index) {
  RandomStream random({.seed = 3, .purpose = "loader_test", .step = uint32_t(step), .sample = uint32_t(index)});
  // Uneven work, so that threads finish out of order.
  std::this_thread::sleep_for(std::chrono::microseconds(random.below(300)));
  return random.normal();
}

TEST(Loader, SamplesAndOrderDoNotDependOnThreads) {
  std::vector<double> expected;
  for (int64_t step = 5; step < 45; ++step)
    for (int64_t i = 0; i < 3; ++i) expected.push_back(draw(step, i));
  for (int threads : {1, 2, 4}) {
    for (int64_t prefetch : {1, 3}) {
      Loader<double> loader({.batch_size = 3, .threads = threads, .prefetch = prefetch, .first_step = 5, .end_step = 45}, draw);
      std::vector<double> got;
      for (int64_t step = 5; step < 45; ++step) {
        const LoadedBatch<double> batch = loader.next();
        EXPECT_EQ(batch.step, step);
        got.insert(got.end(), batch.samples.begin(), batch.samples.end());
      }
      EXPECT_EQ(got, expected) << threads << " threads";
      EXPECT_TRUE(loader.at_end());
      EXPECT_THROW(loader.next(), BugError);
    }
  }
}

// Waits until `count` has reached `value`, then long enough for anything in excess to show.
void settle(const std::atomic<int>& count, int value) {
  for (int i = 0; i < 5000 && count < value; ++i) std::this_thread::sleep_for(milliseconds(2));
  std::this_thread::sleep_for(milliseconds(30));
}

TEST(Loader, PreparesNoMoreThanAsked) {
  std::atomic<int> made = 0;
  Loader<int> loader({.batch_size = 2, .threads = 4, .prefetch = 3}, [&](int64_t, int64_t) { return ++made; });
  settle(made, 6);
  EXPECT_EQ(made, 6);
  loader.next();
  settle(made, 8);
  EXPECT_EQ(made, 8);
}

TEST(Loader, ErrorsArriveInOrderAndStay) {
  const auto make = [](int64_t step, int64_t index) -> int {
    if (step == 2 && index == 0) std::this_thread::sleep_for(milliseconds(20));
    if (step == 2 && index != 1) throw InputError("picture " + std::to_string(index) + " is broken");
    return int(step);
  };
  Loader<int> loader({.batch_size = 3, .threads = 3, .prefetch = 4}, make);
  EXPECT_EQ(loader.next().step, 0);
  EXPECT_EQ(loader.next().step, 1);
  for (int call = 0; call < 2; ++call) {
    try {
      loader.next();
      ADD_FAILURE() << "no error arrived";
    } catch (const InputError& e) {
      EXPECT_STREQ(e.what(), "picture 0 is broken");  // the lowest index, though it failed last
    }
  }
}

TEST(Loader, StopsInTheMiddleOfWork) {
  std::atomic<bool> inside = false;
  Loader<int> loader({.threads = 2}, [&](int64_t, int64_t) {
    inside = true;
    std::this_thread::sleep_for(milliseconds(30));
    return 1;
  });
  while (!inside) std::this_thread::yield();
  loader.stop();
  loader.stop();
  EXPECT_THROW(loader.next(), Error);
}

TEST(Loader, StopWakesAWaitingConsumer) {
  std::atomic<bool> release = false;
  Loader<int> loader({}, [&](int64_t, int64_t) {
    while (!release) std::this_thread::yield();
    return 1;
  });
  std::thread consumer([&] { EXPECT_THROW(loader.next(), Error); });
  std::this_thread::sleep_for(milliseconds(20));
  std::thread stopper([&] { loader.stop(); });
  consumer.join();
  release = true;
  stopper.join();
}

TEST(Loader, MeasuresWaiting) {
  std::atomic<int> made = 0;
  Loader<int> loader({.prefetch = 1, .end_step = 2}, [&](int64_t step, int64_t) {
    if (step == 0) std::this_thread::sleep_for(milliseconds(300));
    return ++made;
  });
  loader.next();
  EXPECT_GT(loader.last_wait_seconds(), 0.2);
  settle(made, 2);
  loader.next();
  EXPECT_LT(loader.last_wait_seconds(), 0.1);
  EXPECT_GT(loader.total_wait_seconds(), 0.2);
}

// Dataset indices that ranks of a world deliver for the steps begin .. end - 1, in the order of the samples.
std::vector<int64_t> delivered(int64_t world, int64_t batch, int64_t begin, int64_t end, int64_t dataset) {
  SampleOrder order(11, dataset);
  std::vector<std::unique_ptr<Loader<int64_t>>> ranks;
  for (int64_t rank = 0; rank < world; ++rank)
    ranks.push_back(std::make_unique<Loader<int64_t>>(LoaderOptions{.batch_size = batch,
                                                                    .threads = 2,
                                                                    .prefetch = 3,
                                                                    .first_step = begin,
                                                                    .end_step = end,
                                                                    .rank = rank,
                                                                    .world = world},
                                                      [&order, world, batch](int64_t step, int64_t index) {
                                                        std::this_thread::sleep_for(std::chrono::microseconds(index * 20));
                                                        return order.index_of(step * world * batch + index);
                                                      }));
  std::vector<int64_t> indices;
  for (int64_t step = begin; step < end; ++step)
    for (const auto& loader : ranks)
      for (const int64_t index : loader->next().samples) indices.push_back(index);
  return indices;
}

TEST(Loader, RanksPartEveryEpochExactly) {
  // 23 pictures: no multiple of any step's samples, so that steps straddle the ends of epochs.
  const std::vector<int64_t> alone = delivered(1, 6, 0, 23, 23);
  for (const auto& [world, batch] : {std::pair<int64_t, int64_t>{2, 3}, {3, 2}, {6, 1}})
    EXPECT_EQ(delivered(world, batch, 0, 23, 23), alone) << world << " ranks together deliver what one would";
  for (size_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<int64_t> seen(alone.begin() + int64_t(epoch) * 23, alone.begin() + int64_t(epoch + 1) * 23);
    std::ranges::sort(seen);
    for (int64_t i = 0; i < 23; ++i) EXPECT_EQ(seen[size_t(i)], i) << "epoch " << epoch;
  }
  EXPECT_THROW(Loader<int>({.rank = 2, .world = 2}, [](int64_t, int64_t) { return 1; }), InputError);
}

TEST(Loader, APositionContinuesExactly) {
  const std::vector<int64_t> whole = delivered(1, 4, 0, 30, 23);
  for (const int64_t stop : {0, 1, 5, 6, 17, 29}) {  // within, at and across the ends of epochs
    SampleOrder order(11, 23);
    const auto make = [&order](int64_t step, int64_t index) { return order.index_of(step * 4 + index); };
    std::vector<int64_t> got;
    int64_t position = -1;
    {
      Loader<int64_t> loader({.batch_size = 4, .threads = 3, .prefetch = 5, .end_step = 30}, make);
      for (int64_t step = 0; step < stop; ++step)
        for (const int64_t index : loader.next().samples) got.push_back(index);
      std::this_thread::sleep_for(milliseconds(5));  // batches ahead are ready or in work now
      position = loader.position();
    }
    EXPECT_EQ(position, stop);
    Loader<int64_t> loader({.batch_size = 4, .threads = 2, .prefetch = 2, .first_step = position, .end_step = 30}, make);
    while (!loader.at_end())
      for (const int64_t index : loader.next().samples) got.push_back(index);
    EXPECT_EQ(got, whole) << "stopped before step " << stop;
  }
}

TEST(Loader, RefusesNonsense) {
  EXPECT_THROW(Loader<int>({.threads = 0}, [](int64_t, int64_t) { return 1; }), InputError);
  EXPECT_THROW(Loader<int>({.batch_size = 0}, [](int64_t, int64_t) { return 1; }), InputError);
}

TEST(SampleOrder, EveryEpochIsAPermutationOfItsOwn) {
  std::set<std::vector<uint32_t>> orders;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    std::vector<uint32_t> order = epoch_order(1, epoch, 100);
    EXPECT_EQ(order, epoch_order(1, epoch, 100));
    orders.insert(order);
    std::ranges::sort(order);
    for (uint32_t i = 0; i < 100; ++i) ASSERT_EQ(order[i], i);
  }
  EXPECT_EQ(orders.size(), 20u);
  EXPECT_NE(epoch_order(1, 0, 100), epoch_order(2, 0, 100));
}

TEST(SampleOrder, FirstPlacesAreUniform) {
  std::vector<int> counts(5);
  for (int64_t epoch = 0; epoch < 5000; ++epoch) ++counts[epoch_order(9, epoch, 5)[0]];
  for (int count : counts) EXPECT_NEAR(count, 1000, 130);  // 4.6 standard deviations
}

TEST(SampleOrder, PartsAnEpochExactlyFromAnyPosition) {
  SampleOrder order(4, 7);
  for (int64_t epoch : {0, 3, 1, 2, 0}) {
    std::set<int64_t> seen;
    for (int64_t i = 0; i < 7; ++i) {
      seen.insert(order.index_of(epoch * 7 + i));
      EXPECT_EQ(order.index_of(epoch * 7 + i), epoch_order(4, epoch, 7)[size_t(i)]);
    }
    EXPECT_EQ(seen.size(), 7u);
    EXPECT_EQ(order.epoch_of(epoch * 7 + 6), epoch);
  }
  EXPECT_THROW(SampleOrder(1, 0), InputError);
}

}  // namespace
}  // namespace relume
