// Batches prepared ahead by threads. What a sample holds depends on (seed, step, index) alone, never on threads or timing: the
// callback draws from RandomStreams keyed so (design D5), and batches are handed over strictly in order.
//
// Position and ranks. Everything a run draws is numbered by (step, index), index counting the samples of one step over all
// ranks: rank r of `world` makes index r * batch_size .. (r + 1) * batch_size - 1. A run that asks SampleOrder for the sample
// step * world * batch_size + index therefore parts every epoch exactly: each picture once, whatever world and batch size.
// Where an epoch is no multiple of a step's samples, the step that straddles its end takes the rest of it and the beginning of
// the next; nothing is lost or doubled. A loader's position is one number, the step to be delivered next; what was prepared
// ahead is not part of it, and a loader that begins there delivers exactly the rest.
//
// Memory: at most prefetch * batch_size samples are held or in work, besides what the consumer keeps of the last batch; at most
// `threads` pictures are being decoded, and the data set's cache has a bound in bytes of its own.
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
#include "tensor/core/philox.h"
#include "tensor/core/serial.h"

namespace relume {

// 0..n-1 in random order: a Fisher-Yates shuffle drawn from the stream of `key`.
std::vector<uint32_t> shuffled_order(const RandomKey& key, int64_t n);
// The dataset indices in the order of one epoch, drawn from (seed, "epoch_order", epoch).
std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t n);

// Maps the samples of a run, counted from 0 through all epochs, to dataset indices. Any thread.
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
  int64_t batch_size = 1;  // of this rank
  int threads = 1;
  int64_t prefetch = 2;  // batches held ready or in work at most, at least 1
  int64_t first_step = 0;
  int64_t end_step = std::numeric_limits<int64_t>::max();  // first step not to be prepared
  int64_t rank = 0, world = 1;                             // which of how many loaders this is
};

template <class Sample> struct LoadedBatch {
  int64_t step = 0;
  std::vector<Sample> samples;  // in the order of their index
};

// Calls make_sample(step, index), index rank * batch_size .. (rank + 1) * batch_size - 1, on its own threads.
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
    RELUME_CHECK(options.rank >= 0 && options.rank < options.world && options.first_step >= 0, "loader: rank ", options.rank,
                 " of ", options.world, " from step ", options.first_step, " is impossible");
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

  // The step that next() delivers: to be saved, and given to another loader as first_step.
  int64_t position() const { return front_step_; }
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
        sample.emplace(make_sample_(step, options_.rank * options_.batch_size + index));
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
