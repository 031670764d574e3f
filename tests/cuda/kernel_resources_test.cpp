// The hot kernels keep their registers, as ptxas reported it when they were compiled; no device is needed.
#include "tests/support/kernel_resources.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace relume::test {
namespace {

constexpr HotKernel hot_kernels[] = {{"attend_windows", 128},  // attention_threads of window_attention*.cu
                                     {"attend_windows_backward", 128},
                                     {"norm_rows", 256},  // row_threads of norm.cu
                                     {"norm_rows_backward", 256},
                                     {"attend", 256},  // attention_threads of streaming_attention*.cu
                                     {"attend_gradients", 256},
                                     {"attend_query_gradient", 256},
                                     {"attend_key_gradients", 256},
                                     {"partial_moments", 256},  // norm_threads of group_norm.cu
                                     {"normalise_groups", 256},
                                     {"partial_gradients", 256},
                                     {"normalise_groups_backward", 256},
                                     {"normalise_kept_groups", 256},
                                     {"normalise_kept_groups_backward", 256},
                                     {"norm_of_chunks", 256},  // loop_threads of loops.h
                                     {"update_chunks", 256}};

// What nvcc 13.0 says: a kernel that spills, one whose registers do not fit a block of 1024, and a function that is called.
constexpr const char* sample =
    "ptxas info    : 0 bytes gmem\n"
    "ptxas info    : Compiling entry function '_ZN6relume4cuda12_GLOBAL__N_19norm_rowsILi20EfEEvlPf' for 'sm_90'\n"
    "ptxas info    : Function properties for _ZN6relume4cuda12_GLOBAL__N_19norm_rowsILi20EfEEvlPf\n"
    "    96 bytes stack frame, 40 bytes spill stores, 56 bytes spill loads\n"
    "ptxas info    : Used 255 registers, used 1 barriers, 96 bytes cumulative stack size, 4096 bytes smem\n"
    "ptxas info    : Compile time = 3.141 ms\n"
    "ptxas info    : Compiling entry function '_ZN6relume4cudaL5adamwElPf' for 'sm_80'\n"
    "ptxas info    : Function properties for _ZN6relume4cudaL5adamwElPf\n"
    "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 72 registers, used 0 barriers, 400 bytes cmem[0]\n"
    "ptxas info    : Function properties for _ZN6relume4cuda4helpEf\n"
    "    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";

TEST(KernelResources, AreReadFromTheReport) {
  const std::vector<KernelResources> found = parse_ptxas_report(sample, "sample");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name, "norm_rows<20, float>");
  EXPECT_EQ(found[0].architecture, "sm_90");
  EXPECT_EQ(found[0].registers, 255);
  EXPECT_EQ(found[0].shared_bytes, 4096);
  EXPECT_EQ(found[0].stack_bytes, 96);
  EXPECT_EQ(found[0].spilled_bytes, 96);
  EXPECT_EQ(found[1].name, "adamw");
  EXPECT_EQ(found[1].architecture, "sm_80");
  EXPECT_EQ(found[1].registers, 72);
  EXPECT_EQ(found[1].shared_bytes, 0);
  EXPECT_EQ(found[1].spilled_bytes, 0);
  EXPECT_EQ(found[2].name, "help");
  EXPECT_EQ(found[2].registers, -1);
  EXPECT_EQ(found[2].stack_bytes, 16);
}

TEST(KernelResources, ThatDoNotFitAreComplainedAbout) {
  const std::vector<KernelResources> kernels = parse_ptxas_report(sample, "sample");
  const auto complaints = [&](const HotKernel& hot) { return complaints_about(kernels, {&hot, 1}); };
  ASSERT_EQ(complaints({"norm_rows", 256}).size(), 1u);  // 255 registers of 256 threads just fit
  EXPECT_HAS(complaints({"norm_rows", 256})[0], "norm_rows<20, float> (sm_90) spills 96 bytes");
  ASSERT_EQ(complaints({"norm_rows", 288}).size(), 2u);
  EXPECT_HAS(complaints({"norm_rows", 288})[1], "a block of 288 threads with 255 registers each needs 73728 of 65536");
  ASSERT_EQ(complaints({"adamw", 896}).size(), 1u);
  ASSERT_EQ(complaints({"adamw", 1024}).size(), 2u);
  EXPECT_HAS(complaints({"adamw", 1024})[1], "adamw (sm_80): a block of 1024 threads");
  ASSERT_EQ(complaints({"attend", 128}).size(), 2u);
  EXPECT_HAS(complaints({"attend", 128})[1], "attend: no report has this kernel");
}

TEST(KernelResources, AreNotGuessedWhereTheReportIsWordedAnew) {
  EXPECT_HAS(input_error([] { parse_ptxas_report("ptxas info : Compiling entry function 'k' for 'sm_90'\n", "k.cu.o.ptxas"); }),
             "k.cu.o.ptxas: the report on k lacks its registers or its spills");
}

TEST(KernelResources, OfTheBuildFit) {
  for (const std::string& complaint : complaints_about(read_ptxas_reports(RELUME_PTXAS_REPORTS), hot_kernels))
    ADD_FAILURE() << complaint;
}

TEST(KernelResources, StandInATableSortedByName) {
  const std::string table = table_of(parse_ptxas_report(sample, "sample"));
  EXPECT_HAS(table,
             "| `adamw` | sm_80 | 72 | 0 | 0 | 0 |\n| `help` | sm_80 | of its caller | 0 | 16 | 0 |\n"
             "| `norm_rows<20, float>` | sm_90 | 255 | 4096 | 96 | 96 |\n");
}

}  // namespace
}  // namespace relume::test
