// RELUME_HD marks an inline function that runs on the host and, when compiled by nvcc, on the device as well. On the host it is
// always inlined: a loop that calls a function is not vectorised, and compilers lose patience with nested polynomials.
#pragma once

#ifdef __CUDACC__
#define RELUME_HD __host__ __device__
#else
#define RELUME_HD [[gnu::always_inline]]
#endif
