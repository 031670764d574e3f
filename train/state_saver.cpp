#include "train/state_saver.h"

#include <utility>

#include "tensor/core/serial.h"

namespace relume {

StateSaver::~StateSaver() {
  if (pending_.valid()) pending_.wait();
}

void StateSaver::wait() {
  if (pending_.valid()) std::exchange(pending_, {}).get();
}

void StateSaver::save(int64_t step, double seconds, StateContents contents) {
  wait();
  pending_ = std::async(std::launch::async, [this, step, seconds, contents = std::move(contents)] {
    make_thread_serial();  // the processors belong to the training
    for (AppendFile* log : logs_) log->sync();
    folder_.save(step, seconds, contents, keep_);
  });
}

}  // namespace relume
