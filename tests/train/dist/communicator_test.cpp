// The operations of a communicator, run on every rank: by itself, and by ctest under mpirun with 2 and 3 ranks; over NCCL with
// one rank, on a GPU and in the simulator.
#include "train/dist/communicator.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/train/dist/ranks.h"

namespace relume::test {
namespace {

std::unique_ptr<Communicator> everyone;  // of the whole program: MPI is begun and ended once

class EveryoneEnvironment : public testing::Environment {
 public:
  void SetUp() override {
    if (why_no_ranks().empty()) everyone = start_ranks();
  }
  void TearDown() override { everyone.reset(); }
};
const testing::Environment* const environment = testing::AddGlobalTestEnvironment(new EveryoneEnvironment);

class CommunicatorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_ranks(); !why.empty()) GTEST_SKIP() << why;
  }
};

constexpr DType types[] = {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32, DType::i64};

// Small whole numbers, which every type holds and adds exactly.
Tensor numbers_of(int rank, int64_t count, DType dtype) {
  const Tensor t = Tensor::empty({count}, DType::f64);
  for (int64_t i = 0; i < count; ++i) t.data<double>()[i] = double((rank + 1) * (i % 7) - 3);
  return t.to(dtype).to(device_of_ranks());
}
Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return Tensor::zeros(shape, dtype, device_of_ranks()); }
// The numbers of a tensor, in f64 on the CPU.
Tensor doubles(const Tensor& t) { return t.to(Device{}).to(DType::f64); }
double sum_at(int64_t i, int size) {
  double sum = 0;
  for (int r = 0; r < size; ++r) sum += double((r + 1) * (i % 7) - 3);
  return sum;
}

TEST_F(CommunicatorTest, HasAsManyRanksAsWereStarted) {
  const char* expected = std::getenv("RELUME_TEST_RANKS");
  EXPECT_EQ(everyone->size(), expected ? std::atoi(expected) : 1);
  EXPECT_GE(everyone->rank(), 0);
  EXPECT_LT(everyone->rank(), everyone->size());
}

TEST_F(CommunicatorTest, BroadcastsFromEveryRoot) {
  for (const DType dtype : types)
    for (int root = 0; root < everyone->size(); ++root) {
      const Tensor x = numbers_of(everyone->rank(), 11, dtype);
      everyone->broadcast(x, root);
      EXPECT_EQ(relative_l2(doubles(x), doubles(numbers_of(root, 11, dtype))), 0) << dtype << " from " << root;
    }
  EXPECT_HAS(input_error([] { everyone->broadcast(zeros({1}), everyone->size()); }), "broadcast from rank ");
}

TEST_F(CommunicatorTest, AddsUp) {
  for (const DType dtype : types)
    for (const int64_t count : {1, 13, 100003}) {
      const Tensor x = numbers_of(everyone->rank(), count, dtype);
      everyone->all_reduce(x);
      const Tensor found = doubles(x);
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(found.data<double>()[i], sum_at(i, everyone->size())) << dtype << ", element " << i;
    }
}

TEST_F(CommunicatorTest, ScattersSumsAndGathersParts) {
  const int size = everyone->size(), rank = everyone->rank();
  for (const DType dtype : types) {
    constexpr int64_t part_size = 17;
    const Tensor part = zeros({part_size}, dtype), x = numbers_of(rank, part_size * size, dtype);
    everyone->reduce_scatter(part, x);
    const Tensor found = doubles(part);
    for (int64_t i = 0; i < part_size; ++i)
      EXPECT_EQ(found.data<double>()[i], sum_at(rank * part_size + i, size)) << dtype << ", element " << i;
    const Tensor all = zeros({size, part_size}, dtype);
    everyone->all_gather(all, part);
    const Tensor gathered = doubles(all);
    for (int64_t i = 0; i < part_size * size; ++i)
      EXPECT_EQ(gathered.data<double>()[i], sum_at(i, size)) << dtype << ", element " << i;
  }
}

TEST_F(CommunicatorTest, RefusesWhatDoesNotFit) {
  if (everyone->size() == 1 && device_of_ranks() == Device{}) GTEST_SKIP() << "one rank on the cpu copies";
  EXPECT_HAS(input_error([] { everyone->all_gather(zeros({7}), zeros({5})); }), "equal parts of f32 ");
  EXPECT_HAS(input_error([] { everyone->all_reduce(zeros({7}, DType::u8)); }), "expects f32, f64, f16, bf16, i32 or i64");
  const std::string refused = input_error([] { everyone->all_reduce(zeros({7, 5}).columns(1, 3)); });
  EXPECT_HAS(refused,
             detail::concat("expects a dense tensor on ", device_of_ranks().kind == DeviceKind::cpu ? "the cpu" : "cuda:0"));
}

// Nobody leaves a barrier before the last has come; all ranks are on one machine, and read one clock.
TEST_F(CommunicatorTest, BarrierHoldsEveryone) {
  const auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  usleep(useconds_t(30000 * everyone->rank()));
  const Tensor came = Tensor::of<double>({1}, {now()}).to(device_of_ranks());
  everyone->barrier();
  const double left = now();
  const Tensor gathered = zeros({everyone->size()}, DType::f64);
  everyone->all_gather(gathered, came);
  const Tensor all = doubles(gathered);
  for (int r = 0; r < everyone->size(); ++r) EXPECT_GE(left, all.data<double>()[r]) << "rank " << r;
}

}  // namespace
}  // namespace relume::test
