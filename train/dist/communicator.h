// Several processes that train together (design D9): the same operations over MPI on CPUs and, later, over NCCL on GPUs.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "tensor/core/tensor.h"

namespace relume {

// Every rank calls the same operations in the same order, with tensors of the same shape and dtype, dense, on the device of the
// communicator. f32, f64, f16, bf16, i32, i64; a sum of 16-bit numbers is rounded at every addition. Results are the same on
// every rank. A rank that is lost ends the others (watchdog.h).
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;

  virtual void broadcast(const Tensor& x, int root) = 0;  // x of `root` to all
  virtual void all_reduce(const Tensor& x) = 0;           // x = the sum over the ranks
  // part = this rank's share of the sum of all x: elements rank * n to (rank + 1) * n of x, n = part.numel() = x.numel() /
  // size.
  virtual void reduce_scatter(const Tensor& part, const Tensor& x) = 0;
  virtual void all_gather(const Tensor& x, const Tensor& part) = 0;  // x = the parts of all ranks, in their order
  virtual void barrier() = 0;
};

// Heartbeats and time limits of the watchdog.
struct WatchdogOptions {
  std::chrono::milliseconds heartbeat{5000};     // between two signs of life
  std::chrono::milliseconds silence{20000};      // after which a rank counts as lost
  std::chrono::milliseconds collective{600000};  // that one operation may wait for the others
};

// The communicator that this process was started for: over MPI when mpirun or srun started it, else of one rank. Called once,
// by the main thread, which alone may use it. Throws an InputError when several were started and this build has no MPI.
std::unique_ptr<Communicator> make_communicator(const WatchdogOptions& options = {});

}  // namespace relume
