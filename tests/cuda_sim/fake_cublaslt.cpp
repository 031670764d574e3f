// cuBLASLt of the simulator: reads the descriptors as cublasLt.h defines them, refuses what the library refuses, and computes
// with plain loops, so that a wrong pitch or transpose gives wrong numbers.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "tensor/core/half.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/tf32.h"

namespace relume::sim {
namespace {

struct Handle {};
struct Layout {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t pitch;  // from column to column
};
struct Operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C and D
};
// What stands in an algorithm: the problem it was chosen for.
struct Choice {
  uint64_t problem;
  uint32_t alignment[4];
  uint64_t workspace;
  uint32_t number;  // of the algorithm
};
static_assert(sizeof(Choice) <= sizeof(cublasLtMatmulAlgo_t));

// How long each algorithm takes. The first that is recommended is not the fastest.
constexpr float milliseconds[] = {3, 4, 1, 2};
constexpr int algorithms = int(std::size(milliseconds));

// Objects of ours behind the library's opaque pointers.
Layout& of(cublasLtMatrixLayout_t p) { return *reinterpret_cast<Layout*>(p); }
Operation& of(cublasLtMatmulDesc_t p) { return *reinterpret_cast<Operation*>(p); }
Preference& of(cublasLtMatmulPreference_t p) { return *reinterpret_cast<Preference*>(p); }

template <class T> cublasStatus_t set(T& to, const void* from, size_t bytes) {
  if (!from || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

uint64_t size_of_type(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }
double element(const void* data, cudaDataType_t type, int64_t at) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[at];
  if (type == CUDA_R_16F) return float(static_cast<const Float16*>(data)[at]);
  return float(static_cast<const BFloat16*>(data)[at]);
}
void store(void* data, cudaDataType_t type, int64_t at, double x) {
  if (type == CUDA_R_32F)
    static_cast<float*>(data)[at] = float(x);
  else if (type == CUDA_R_16F)
    static_cast<Float16*>(data)[at] = Float16(float(x));
  else
    static_cast<BFloat16*>(data)[at] = BFloat16(float(x));
}

// D [m, n] = op(A) [m, k] op(B) [k, n] + beta C.
struct Problem {
  const Operation& operation;
  const Layout &a, &b, &c, &d;
  bool transpose_a() const { return operation.transpose_a == CUBLAS_OP_T; }
  bool transpose_b() const { return operation.transpose_b == CUBLAS_OP_T; }
  bool rounds() const { return operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32; }
  double factor(const void* data, const Layout& l, int64_t at) const {
    const double x = element(data, l.type, at);
    return rounds() ? double(to_tf32(float(x))) : x;
  }
  uint64_t depth() const { return transpose_a() ? a.rows : a.columns; }

  cublasStatus_t check() const {
    const bool sizes = (transpose_a() ? a.columns : a.rows) == d.rows && (transpose_b() ? b.columns : b.rows) == depth() &&
                       (transpose_b() ? b.rows : b.columns) == d.columns && c.rows == d.rows && c.columns == d.columns;
    if (!sizes || d.rows == 0 || d.columns == 0 || depth() == 0) return CUBLAS_STATUS_INVALID_VALUE;
    for (const Layout* l : {&a, &b, &c, &d})
      if (l->pitch < int64_t(l->rows)) return CUBLAS_STATUS_INVALID_VALUE;
    const bool types = a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F) &&
                       (a.type == CUDA_R_32F || a.type == CUDA_R_16F || a.type == CUDA_R_16BF);
    const bool computes = operation.compute == CUBLAS_COMPUTE_32F || (rounds() && a.type == CUDA_R_32F);
    if (!types || !computes || operation.scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (operation.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_SUCCESS;
    if (operation.epilogue != CUBLASLT_EPILOGUE_BIAS) return CUBLAS_STATUS_NOT_SUPPORTED;
    return operation.bias ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  }

  // Two problems of one number may share an algorithm.
  uint64_t number() const {
    uint64_t hash = 14695981039346656037ull;
    const auto add = [&](uint64_t x) { hash = (hash ^ x) * 1099511628211ull; };
    for (const Layout* l : {&a, &b, &c, &d}) add(uint64_t(l->type)), add(l->rows), add(l->columns), add(uint64_t(l->pitch));
    add(uint64_t(operation.transpose_a)), add(uint64_t(operation.transpose_b)), add(operation.epilogue),
        add(uint64_t(operation.compute));
    return hash;
  }

  void compute(float alpha, const void* left, const void* right, float beta, const void* added, void* to) const {
    for (int64_t n = 0; n < int64_t(d.columns); ++n)
      for (int64_t m = 0; m < int64_t(d.rows); ++m) {
        double sum = 0;
        for (int64_t k = 0; k < int64_t(depth()); ++k)
          sum += factor(left, a, transpose_a() ? k + m * a.pitch : m + k * a.pitch) *
                 factor(right, b, transpose_b() ? n + k * b.pitch : k + n * b.pitch);
        sum *= alpha;
        if (beta != 0) sum += beta * element(added, c.type, m + n * c.pitch);
        if (operation.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += element(operation.bias, d.type, m);
        store(to, d.type, m + n * d.pitch, sum);
      }
  }
};

// Long sums want memory for their parts.
uint64_t workspace_of(const Problem& p) { return p.depth() > 64 ? p.d.rows * p.d.columns * sizeof(float) : 0; }

bool keeps(const Choice& choice, const Problem& p, const void* const pointers[4], size_t workspace) {
  if (choice.problem != p.number() || workspace < choice.workspace) return false;
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<uintptr_t>(pointers[i]) % choice.alignment[i] != 0) return false;
  return true;
}

bool aligned_to_elements(const Problem& p, const void* const pointers[4]) {
  const Layout* const layouts[] = {&p.a, &p.b, &p.c, &p.d};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<uintptr_t>(pointers[i]) % size_of_type(layouts[i]->type) != 0) return false;
  return true;
}

}  // namespace
}  // namespace relume::sim

using namespace relume::sim;

extern "C" {

const char* cublasLtGetStatusName(cublasStatus_t s) {
  return s == CUBLAS_STATUS_INVALID_VALUE   ? "CUBLAS_STATUS_INVALID_VALUE"
         : s == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                            : "CUBLAS_STATUS";
}
const char* cublasLtGetStatusString(cublasStatus_t) { return "an error of the simulator"; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static Handle only;
  return *handle = reinterpret_cast<cublasLtHandle_t>(&only), CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t pitch) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, pitch});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return delete &of(layout), CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType_t scale) {
  *operation = reinterpret_cast<cublasLtMatmulDesc_t>(new Operation{compute, scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return delete &of(operation), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  Operation& o = of(operation);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(o.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(o.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(o.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(o.bias, value, bytes);
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return delete &of(p), CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  Preference& p = of(preference);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set(p.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set(p.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return set(p.alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return set(p.alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return set(p.alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return set(p.alignment[3], value, bytes);
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  if (!handle || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{of(operation), of(a), of(b), of(c), of(d)};
  *count = 0;
  if (const cublasStatus_t status = problem.check(); status != CUBLAS_STATUS_SUCCESS) return status;
  const Preference& p = of(preference);
  Choice choice{.problem = problem.number(), .alignment = {}, .workspace = 0};
  std::memcpy(choice.alignment, p.alignment, sizeof(choice.alignment));
  if (p.reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE && workspace_of(problem) <= p.workspace)
    choice.workspace = workspace_of(problem);
  for (; *count < std::min(wanted, algorithms); ++*count) {
    choice.number = uint32_t(*count);
    cublasLtMatmulHeuristicResult_t& result = results[*count] = {};
    std::memcpy(&result.algo, &choice, sizeof(choice));
    result.workspaceSize = choice.workspace, result.state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{of(operation), of(a), of(b), of(c), of(d)};
  Choice choice;
  std::memcpy(&choice, algorithm, sizeof(choice));
  if (choice.problem != problem.number() || choice.number >= algorithms) return CUBLAS_STATUS_INVALID_VALUE;
  result->workspaceSize = choice.workspace;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (!handle || !operation || !alpha || !beta || !a || !b || !c || !d) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{of(operation), of(a_layout), of(b_layout), of(c_layout), of(d_layout)};
  if (const cublasStatus_t status = problem.check(); status != CUBLAS_STATUS_SUCCESS) return status;
  const void* const pointers[] = {a, b, c, d};
  if (!aligned_to_elements(problem, pointers) || (c == d && problem.c.pitch != problem.d.pitch))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes > 0 && !workspace) return CUBLAS_STATUS_INVALID_VALUE;
  if (algorithm) {
    Choice choice;
    std::memcpy(&choice, algorithm, sizeof(choice));
    if (!keeps(choice, problem, pointers, workspace_bytes) || choice.number >= algorithms) return CUBLAS_STATUS_INVALID_VALUE;
    ++counts().algorithms[choice.number];
    pass_time(milliseconds[choice.number]);
  }
  enqueue(stream, [=, o = of(operation), la = of(a_layout), lb = of(b_layout), lc = of(c_layout), ld = of(d_layout),
                   factor = *static_cast<const float*>(alpha), share = *static_cast<const float*>(beta)] {
    const DeviceMemoryOpen open;
    if (workspace_bytes > 0) std::memset(workspace, 0xa5, workspace_bytes);
    Problem{o, la, lb, lc, ld}.compute(factor, a, b, share, c, d);
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
