// What a communicator over NCCL does when something goes wrong, which the fake of NCCL pretends.
#include <gtest/gtest.h>

#include <thread>

#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_nccl.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/support/errors.h"
#include "train/dist/nccl_communicator.h"

namespace relume::test {
namespace {

using std::chrono::milliseconds;

class NcclCommunicatorTest : public testing::Test {
 protected:
  void TearDown() override {
    sim::nccl().polls = 3, sim::nccl().other_side_fails = false, sim::work_ends() = true;
    ranks_.reset();
    EXPECT_EQ(sim::nccl().alive, 0);
  }
  void start() {
    ranks_ =
        make_nccl_communicator(make_communicator(), cuda_device,
                               {.heartbeat = milliseconds(50), .silence = milliseconds(100), .collective = milliseconds(200)});
  }
  // The message of the Error that f throws.
  template <class F> static std::string failure(F f) {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  std::unique_ptr<Communicator> ranks_;
  const int aborted_ = sim::nccl().aborted;  // before the test
};

TEST_F(NcclCommunicatorTest, IsFinishedNotAborted) {
  start();
  ranks_->barrier();
  ranks_.reset();
  EXPECT_EQ(sim::nccl().aborted, aborted_);
}

TEST_F(NcclCommunicatorTest, GivesUpOnWhatNeverBegins) {
  start();
  sim::nccl().polls = -1;
  EXPECT_HAS(failure([&] { ranks_->barrier(); }), "all-reduce: NCCL did not begin it in time");
  EXPECT_EQ(sim::nccl().aborted, aborted_ + 1);
  EXPECT_HAS(failure([&] { ranks_->barrier(); }), "all-reduce: NCCL did not begin it in time");
}

TEST_F(NcclCommunicatorTest, AbortsWhatNeverEnds) {
  start();
  sim::work_ends() = false;
  EXPECT_HAS(failure([&] { ranks_->barrier(); }), "barrier: all-reduce did not end within 300 ms");  // time and silence
  EXPECT_EQ(sim::nccl().aborted, aborted_ + 1);
  EXPECT_HAS(failure([&] { ranks_->barrier(); }), "all-reduce: all-reduce did not end");
}

TEST_F(NcclCommunicatorTest, AbortsWhenTheOtherSideFails) {
  start();
  sim::nccl().other_side_fails = true;
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(sim::nccl().aborted, aborted_ + 1);
  EXPECT_HAS(failure([&] { ranks_->barrier(); }), "all-reduce: remote process exited");
}

TEST_F(NcclCommunicatorTest, NeedsAGpu) {
  EXPECT_HAS(input_error([] { make_nccl_communicator(make_communicator(), Device{}); }), "expects a GPU, got cpu");
}

}  // namespace
}  // namespace relume::test
