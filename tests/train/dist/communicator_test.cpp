// The operations of a communicator, run on every rank: by itself, and by ctest under mpirun with 2 and 3 ranks.
#include "train/dist/communicator.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

std::unique_ptr<Communicator> everyone;  // of the whole program: MPI is begun and ended once

class EveryoneEnvironment : public testing::Environment {
 public:
  void SetUp() override { everyone = make_communicator(); }
  void TearDown() override { everyone.reset(); }
};
const testing::Environment* const environment = testing::AddGlobalTestEnvironment(new EveryoneEnvironment);

constexpr DType types[] = {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32, DType::i64};

// Small whole numbers, which every type holds and adds exactly.
Tensor numbers_of(int rank, int64_t count, DType dtype) {
  const Tensor t = Tensor::empty({count}, DType::f64);
  for (int64_t i = 0; i < count; ++i) t.data<double>()[i] = double((rank + 1) * (i % 7) - 3);
  return t.to(dtype);
}
double sum_at(int64_t i, int size) {
  double sum = 0;
  for (int r = 0; r < size; ++r) sum += double((r + 1) * (i % 7) - 3);
  return sum;
}

TEST(Communicator, HasAsManyRanksAsWereStarted) {
  const char* expected = std::getenv("RELUME_TEST_RANKS");
  EXPECT_EQ(everyone->size(), expected ? std::atoi(expected) : 1);
  EXPECT_GE(everyone->rank(), 0);
  EXPECT_LT(everyone->rank(), everyone->size());
}

TEST(Communicator, BroadcastsFromEveryRoot) {
  for (const DType dtype : types)
    for (int root = 0; root < everyone->size(); ++root) {
      const Tensor x = numbers_of(everyone->rank(), 11, dtype);
      everyone->broadcast(x, root);
      EXPECT_EQ(relative_l2(x, numbers_of(root, 11, dtype)), 0) << dtype << " from " << root;
    }
  EXPECT_HAS(input_error([] { everyone->broadcast(Tensor::zeros({1}), everyone->size()); }), "broadcast from rank ");
}

TEST(Communicator, AddsUp) {
  for (const DType dtype : types)
    for (const int64_t count : {1, 13, 100003}) {
      const Tensor x = numbers_of(everyone->rank(), count, dtype);
      everyone->all_reduce(x);
      const Tensor found = x.to(DType::f64);
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(found.data<double>()[i], sum_at(i, everyone->size())) << dtype << ", element " << i;
    }
}

TEST(Communicator, ScattersSumsAndGathersParts) {
  const int size = everyone->size(), rank = everyone->rank();
  for (const DType dtype : types) {
    constexpr int64_t part_size = 17;
    const Tensor part = Tensor::zeros({part_size}, dtype), x = numbers_of(rank, part_size * size, dtype);
    everyone->reduce_scatter(part, x);
    const Tensor found = part.to(DType::f64);
    for (int64_t i = 0; i < part_size; ++i)
      EXPECT_EQ(found.data<double>()[i], sum_at(rank * part_size + i, size)) << dtype << ", element " << i;
    const Tensor all = Tensor::zeros({size, part_size}, dtype);
    everyone->all_gather(all, part);
    const Tensor gathered = all.to(DType::f64);
    for (int64_t i = 0; i < part_size * size; ++i)
      EXPECT_EQ(gathered.data<double>()[i], sum_at(i, size)) << dtype << ", element " << i;
  }
}

TEST(Communicator, RefusesWhatDoesNotFit) {
  if (everyone->size() == 1) GTEST_SKIP() << "one rank copies";
  EXPECT_HAS(input_error([] { everyone->all_gather(Tensor::zeros({7}), Tensor::zeros({5})); }), "equal parts of f32 cpu [7]");
  EXPECT_HAS(input_error([] { everyone->all_reduce(Tensor::zeros({7}, DType::u8)); }),
             "expects f32, f64, f16, bf16, i32 or i64");
  EXPECT_HAS(input_error([] {
               everyone->all_reduce(Tensor::zeros({7, 5}).columns(1, 3));
             }),
             "expects a dense tensor on the cpu");
}

// Nobody leaves a barrier before the last has come; all ranks are on one machine, and read one clock.
TEST(Communicator, BarrierHoldsEveryone) {
  const auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  usleep(useconds_t(30000 * everyone->rank()));
  const Tensor came = Tensor::of<double>({1}, {now()});
  everyone->barrier();
  const double left = now();
  const Tensor all = Tensor::zeros({everyone->size()}, DType::f64);
  everyone->all_gather(all, came);
  for (int r = 0; r < everyone->size(); ++r) EXPECT_GE(left, all.data<double>()[r]) << "rank " << r;
}

}  // namespace
}  // namespace relume::test
