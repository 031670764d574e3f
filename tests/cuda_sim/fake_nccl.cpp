#include "tests/cuda_sim/fake_nccl.h"

#include <nccl.h>

#include <map>

namespace relume::sim {

NcclSettings& nccl() {
  static NcclSettings settings;
  return settings;
}

namespace {

size_t size_of(ncclDataType_t type) {
  static const std::map<ncclDataType_t, size_t> sizes{{ncclFloat16, 2}, {ncclBfloat16, 2}, {ncclInt32, 4},
                                                      {ncclFloat32, 4}, {ncclInt64, 8},    {ncclFloat64, 8}};
  return sizes.at(type);
}

}  // namespace
}  // namespace relume::sim

using namespace relume::sim;

struct ncclComm {
  std::atomic<int> asked{0};  // since the last call
};

namespace {

ncclResult_t begin(ncclComm_t comm) { return comm->asked = 0, ncclInProgress; }

ncclResult_t copy(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  if (comm->asked < nccl().polls) return ncclInvalidUsage;  // the call before has not ended
  if (cudaMemcpyAsync(to, from, count * size_of(type), cudaMemcpyDeviceToDevice, stream) != cudaSuccess)
    return ncclUnhandledCudaError;
  return begin(comm);
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited or there was a network error" : "an error of the simulator";
}
const char* ncclGetLastError(ncclComm_t) { return "said by the simulator"; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return *id = {}, ncclSuccess; }
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId, int rank, ncclConfig_t* config) {
  if (ranks != 1 || rank != 0 || config->size != sizeof(ncclConfig_t) || config->blocking != 0) return ncclInvalidArgument;
  *comm = new ncclComm;
  ++nccl().alive;
  return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const bool ended = nccl().polls >= 0 && ++comm->asked >= nccl().polls;
  *state = nccl().other_side_fails ? ncclRemoteError : ended ? ncclSuccess : ncclInProgress;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) { return begin(comm); }
ncclResult_t ncclCommDestroy(ncclComm_t comm) { return delete comm, --nccl().alive, ncclSuccess; }
ncclResult_t ncclCommAbort(ncclComm_t comm) { return ++nccl().aborted, ncclCommDestroy(comm); }

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return root == 0 ? copy(from, to, count, type, comm, stream) : ncclInvalidArgument;
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t sum, ncclComm_t comm,
                           cudaStream_t stream) {
  return sum == ncclSum ? copy(from, to, count, type, comm, stream) : ncclInvalidArgument;
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t sum, ncclComm_t comm,
                               cudaStream_t stream) {
  return sum == ncclSum ? copy(from, to, count, type, comm, stream) : ncclInvalidArgument;
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return copy(from, to, count, type, comm, stream);
}

}  // extern "C"
