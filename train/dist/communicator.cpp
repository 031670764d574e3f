#include "train/dist/communicator.h"

#include <cstdlib>

#ifdef RELUME_HAVE_MPI
#include "train/dist/mpi_communicator.h"
#endif

namespace relume {
namespace {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void broadcast(const Tensor&, int root) override { RELUME_CHECK(root == 0, "broadcast from rank ", root, " of one"); }
  void all_reduce(const Tensor&) override {}
  void reduce_scatter(const Tensor& part, const Tensor& x) override { part.copy_from(x.reshape(part.shape())); }
  void all_gather(const Tensor& x, const Tensor& part) override { x.copy_from(part.reshape(x.shape())); }
  void barrier() override {}
};

// How many processes the launcher says that it started; each launcher has its own way.
int launched_processes() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"})
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return 1;
}

}  // namespace

std::unique_ptr<Communicator> make_communicator([[maybe_unused]] const WatchdogOptions& options) {
  const int count = launched_processes();
  if (count <= 1) return std::make_unique<SingleCommunicator>();
#ifdef RELUME_HAVE_MPI
  return make_mpi_communicator(options);
#else
  throw InputError(std::to_string(count) +
                   " processes were started together, but this build has no MPI; install libopenmpi-dev and build again, or "
                   "start one process");
#endif
}

}  // namespace relume
