// Batches prepared ahead by threads. What a sample holds depends on (seed, step, index) alone, never on threads or timing: the
// callback draws from RandomStreams keyed so (design D5), and batches are handed over strictly in order.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tensor/core/serial.h"

namespace relume {

// The dataset indices 0..n-1 in the order of one epoch: a Fisher-Yates shuffle drawn from (seed, "epoch_order", epoch).
std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t n);

// Maps the samples of a run, counted from 0 through all epochs, to dataset indices. Any thread. A run's position is one number,
// so a resumed run goes on where it stopped, and ranks that take every k-th sample part an epoch exactly.
class SampleOrder {
 public:
  SampleOrder(uint64_t seed, int64_t dataset_size);
  int64_t epoch_of(int64_t sample) const { return sample / size_; }
  int64_t index_of(int64_t sample);

 private:
  uint64_t seed_;
  int64_t size_;
  std::mutex mutex_;
  std::map<int64_t, std::vector<uint32_t>> epochs_;  // the two newest asked for
};

struct LoaderOptions {
  int64_t batch_size = 1;
  int threads = 1;
  int64_t prefetch = 2;  // batches held ready or in work at most, at least 1
  int64_t first_step = 0;
  int64_t end_step = std::numeric_limits<int64_t>::max();  // first step not to be prepared
};

template <class Sample> struct LoadedBatch {
  int64_t step = 0;
  std::vector<Sample> samples;  // in the order of their index
};

// Calls make_sample(step, index), index 0 .. batch_size-1, on its own threads.
template <class Sample> class Loader {
 public:
  using MakeSample = std::function<Sample(int64_t step, int64_t index)>;

  Loader(LoaderOptions options, MakeSample make_sample)
      : options_(options),
        make_sample_(std::move(make_sample)),
        front_step_(options.first_step),
        task_step_(options.first_step) {
    RELUME_CHECK(options.batch_size >= 1 && options.threads >= 1 && options.prefetch >= 1, "loader: batch_size ",
                 options.batch_size, ", threads ", options.threads, " and prefetch ", options.prefetch,
                 " must all be at least 1");
    try {
      for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Loader() { stop(); }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  bool at_end() const { return front_step_ >= options_.end_step; }

  // The batch of the next step; waits until it is complete. Rethrows what make_sample threw for it (the lowest index, if
  // several), now and at every later call. One consumer.
  LoadedBatch<Sample> next() {
    RELUME_BUG(!at_end(), "loader: next() beyond the last step, ", options_.end_step);
    const auto asked = std::chrono::steady_clock::now();
    std::unique_lock lock(mutex_);
    batch_done_.wait(lock,
                     [&] { return stopped_ || (batches_.contains(front_step_) && batches_.at(front_step_).missing == 0); });
    last_wait_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
    total_wait_ += last_wait_;
    if (stopped_) throw Error("loader: next() was called on a stopped loader");
    Work& front = batches_.at(front_step_);
    if (front.error) std::rethrow_exception(front.error);
    LoadedBatch<Sample> batch{front_step_, {}};
    batch.samples.reserve(front.samples.size());
    for (std::optional<Sample>& sample : front.samples) batch.samples.push_back(std::move(*sample));
    batches_.erase(front_step_++);
    lock.unlock();
    task_ready_.notify_all();
    return batch;
  }

  // Lets every thread finish its sample and joins it. Called by the destructor; safe to call twice.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    task_ready_.notify_all();
    batch_done_.notify_all();
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

  // Seconds that next() waited for a batch: the last call, and all together.
  double last_wait_seconds() const { return last_wait_; }
  double total_wait_seconds() const { return total_wait_; }

 private:
  struct Work {
    std::vector<std::optional<Sample>> samples;
    int64_t missing = 0;
    std::exception_ptr error;
    int64_t error_index = 0;
  };

  bool has_task() const { return task_step_ < options_.end_step && task_step_ - front_step_ < options_.prefetch; }

  void work() {
    make_thread_serial();
    std::unique_lock lock(mutex_);
    while (true) {
      task_ready_.wait(lock, [&] { return stopped_ || has_task(); });
      if (stopped_) return;
      const int64_t step = task_step_, index = task_index_;
      Work& batch = batches_[step];  // std::map: the reference survives other insertions and erasures
      if (index == 0) {
        batch.samples.resize(size_t(options_.batch_size));
        batch.missing = options_.batch_size;
      }
      if (++task_index_ == options_.batch_size) {
        task_index_ = 0;
        ++task_step_;
      }
      lock.unlock();
      std::optional<Sample> sample;
      std::exception_ptr error;
      try {
        sample.emplace(make_sample_(step, index));
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && (!batch.error || index < batch.error_index)) {
        batch.error = error;
        batch.error_index = index;
      }
      batch.samples[size_t(index)] = std::move(sample);
      if (--batch.missing == 0) batch_done_.notify_all();
    }
  }

  const LoaderOptions options_;
  const MakeSample make_sample_;
  std::mutex mutex_;
  std::condition_variable task_ready_, batch_done_;
  std::map<int64_t, Work> batches_;
  int64_t front_step_;  // of the batch that next() returns
  int64_t task_step_, task_index_ = 0;
  bool stopped_ = false;
  double last_wait_ = 0, total_wait_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace relume
