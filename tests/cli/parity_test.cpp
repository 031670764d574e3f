#include "base/files.h"
#include "cli/parity/runner.h"

#include <gtest/gtest.h>

#include <unistd.h>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

namespace relume::parity {
namespace {

const double nan = std::numeric_limits<double>::quiet_NaN();

Tensor f32(const std::vector<float>& values) { return Tensor::of<float>({int64_t(values.size())}, values); }
Tensor f64(double value) { return Tensor::of<double>({}, {value}); }

// A folder with one manifest, written anew by each test.
class Parity : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void add(const std::string& name, const std::string& kind, const NamedTensors& tensors,
           Json tolerance = {{"metric", "rel_l2"}, {"fp32", 1e-3}}, Json config = Json::object(), Json more = Json::object()) {
    write_safetensors(folder_ / (name + ".safetensors"), tensors);
    Json entry{{"name", name}, {"kind", kind}, {"file", name + ".safetensors"}, {"config", config}, {"tolerance", tolerance}};
    entry.update(more);
    manifest_["cases"].push_back(entry);
  }
  void write() { write_file_atomically(folder_ / "manifest.json", manifest_.dump()); }

  // One case "c" judged by what `work` reports.
  template <class Work> Verdict judge(Work&& work) {
    Case c(folder_, manifest_["cases"].back());
    c.load();
    Report report(c);
    work(report);
    return report.finish();
  }
  // The error of one stored output `b` against `a`, under the rule.
  Verdict error_of(const std::vector<float>& a, const std::vector<float>& b, const Json& rule) {
    add("c", "k", {{"output.x", f32(b)}}, {{"metric", "rel_l2"}, {"fp32", 1e-3}, {"per_tensor", {{"output.x", rule}}}});
    return judge([&](Report& r) { r.compare("output.x", f32(a)); });
  }
  std::string run(const Kinds& kinds, const std::string& only = "", const std::string& except = "") {
    write();
    std::ostringstream out;
    summary_ = run_parity({folder_, only, except}, kinds, out);
    return out.str();
  }
  static std::string last_line(const std::string& text) {
    const size_t end = text.find_last_not_of('\n');
    return text.substr(text.rfind('\n', end) + 1, end - text.rfind('\n', end));
  }

  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / ("relume_parity_" + std::to_string(::getpid()));
  Json manifest_{{"format", "diffbir-parity-1"}, {"cases", Json::array()}};
  Summary summary_;
  const Kinds kinds_{{"good", [](const Case& c, Report& r) { r.compare_output("y", c.tensor("input.x")); }},
                     {"silent", [](const Case&, Report&) {}},
                     {"broken", [](const Case&, Report&) { throw InputError("conv2d: wrong shapes"); }},
                     {"partial", [](const Case&, Report&) { throw NotImplemented("cleaner scunet"); }}};
};

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Parity, TheLastLineCountsAndAFailureDoesNotStopTheRun) {
  add("one", "good", {{"input.x", f32({1, 2})}, {"output.y", f32({1, 2})}});
  add("two", "good", {{"input.x", f32({1, 2})}, {"output.y", f32({1, 3})}});
  add("three", "broken", {{"output.y", f32({1})}});
  add("four", "future", {{"output.y", f32({1})}});
  add("five", "silent", {{"output.y", f32({1})}, {"grad.param.w", f32({1})}, {"final.param.w", f32({1})}});
  add("six", "good", {{"input.x", f32({4})}, {"output.y", f32({4})}});
  const std::string out = run(kinds_);
  EXPECT_EQ(last_line(out), "2 passed, 3 failed, 1 not implemented");
  EXPECT_MENTIONS(out, "conv2d: wrong shapes");
  EXPECT_MENTIONS(out, "not compared: final.param.w, grad.param.w, output.y");
  EXPECT_MENTIONS(out, "output.y: error 0.316, tolerance 0.001");
  EXPECT_EQ(summary_.exit_code(false), 1);
}

TEST_F(Parity, AVariantThatAKindCannotRunIsNotImplemented) {
  add("one", "partial", {{"output.y", f32({1})}});
  add("two", "good", {{"input.x", f32({4})}, {"output.y", f32({4})}});
  const std::string out = run(kinds_);
  EXPECT_MENTIONS(out, "not implemented (cleaner scunet)");
  EXPECT_EQ(last_line(out), "1 passed, 0 failed, 1 not implemented");
}

TEST_F(Parity, AKindsOwnChecksCount) {
  add("c", "k", {});
  EXPECT_TRUE(judge([](Report& r) { r.check("file", true, ""); }).passed);
  EXPECT_FALSE(judge([](Report&) {}).passed) << "nothing was compared";
  const Verdict failed = judge([](Report& r) {
    r.check("one", true, "");
    r.check("two", false, "was read");
  });
  EXPECT_EQ(failed.complaints, std::vector<std::string>{"two: was read"});
}

TEST_F(Parity, FormatKindsFailForWhatTheyShould) {
  Kinds kinds;
  register_kinds(kinds);
  write_safetensors(folder_ / "in_same.safetensors", {{"x", f32({1, 2})}});
  write_safetensors(folder_ / "in_other.safetensors", {{"x", f32({1, 3})}});
  write_safetensors(folder_ / "in_zero.safetensors", {{"x", f32({0, 2})}});
  write_safetensors(folder_ / "in_more.safetensors", {{"x", f32({1, 2})}, {"y", f32({1})}});
  write_safetensors(folder_ / "in_type.safetensors", {{"x", f64(1)}});
  const auto good = [&](const std::string& name, float first, const std::string& file) {
    add(name, "format_good", {{"x", f32({first, 2})}}, {{"metric", "exact"}}, Json::object(), {{"extra_files", {file}}});
  };
  good("same", 1, "in_same.safetensors");
  good("other", 1, "in_other.safetensors");
  good("bits", -0.0f, "in_zero.safetensors");
  good("more", 1, "in_more.safetensors");
  good("type", 1, "in_type.safetensors");
  good("outside", 1, "../in_same.safetensors");
  const auto malformed = [&](const std::string& name, const std::string& sentence) {
    write_safetensors(folder_ / (name + ".safetensors"), {{"x", f32({1})}});
    add(name, "format_malformed", {{"x", f32({1})}}, {{"metric", "exact"}},
        {{"expected", {{name + ".safetensors", sentence}, {"empty.ckpt", "error: empty file"}}}},
        {{"extra_files", {"empty.ckpt"}}});
  };
  write_file_atomically(folder_ / "empty.ckpt", "");
  malformed("fine", "error: unknown dtype");
  malformed("unclear", "error: something else");
  const std::string out = run(kinds);
  EXPECT_EQ(last_line(out), "1 passed, 7 failed, 0 not implemented") << out;
  EXPECT_MENTIONS(out, "x: error 1, tolerance 0");
  EXPECT_MENTIONS(out, "x: its bits in in_zero.safetensors differ");
  EXPECT_MENTIONS(out, "in_more.safetensors: 2 tensors, expected 1");
  EXPECT_MENTIONS(out, "in_type.safetensors: x is f64, expected f32");
  EXPECT_MENTIONS(out, "'../in_same.safetensors' is not a plain file name");
  EXPECT_MENTIONS(out, "fine.safetensors: was read, expected 'error: unknown dtype'");
  EXPECT_MENTIONS(out, "unclear.safetensors: no message of ours is known for 'error: something else'");
}

TEST_F(Parity, ExitCodes) {
  EXPECT_EQ((Summary{.passed = 1}.exit_code(true)), 0);
  EXPECT_EQ((Summary{.passed = 1, .not_implemented = 1}.exit_code(false)), 0);
  EXPECT_EQ((Summary{.passed = 1, .not_implemented = 1}.exit_code(true)), 1);
  EXPECT_EQ((Summary{.passed = 1, .failed = 1}.exit_code(false)), 1);
  EXPECT_EQ((Summary{.not_implemented = 3}.exit_code(false)), 1);
}

TEST_F(Parity, GlobsMatchNamesOrKindsAndMustMatchSomething) {
  const NamedTensors pass{{"input.x", f32({1})}, {"output.y", f32({1})}};
  add("alpha_1", "good", pass);
  add("alpha_2", "good", pass);
  add("beta", "silent", pass);
  EXPECT_EQ(last_line(run(kinds_, "alpha*")), "2 passed, 0 failed, 0 not implemented");
  EXPECT_EQ(last_line(run(kinds_, "good,beta", "beta")), "2 passed, 0 failed, 0 not implemented");
  EXPECT_EQ(last_line(run(kinds_, "", "alpha_2,sil*")), "1 passed, 0 failed, 0 not implemented");
  EXPECT_THROW(run(kinds_, "alpha*,gamma*"), InputError);
  EXPECT_THROW(run(kinds_, "", "gamma"), InputError);
  EXPECT_THROW(run(kinds_, "alpha*,"), InputError);
  try {
    run(kinds_, "bata");
    FAIL() << "a glob that matches nothing was accepted";
  } catch (const InputError& error) {
    EXPECT_MENTIONS(std::string(error.what()), "did you mean 'beta'");
  }
}

TEST_F(Parity, TheMostSpecificToleranceWins) {
  add("c", "k", {{"output.x", f32({1})}},
      {{"fp32", 1},
       {"per_tensor",
        {{"grad.*", 2},
         {"grad.*bias", 3},
         {"grad.param.a.bias", 4},
         {"*jpeg*", {{"metric", "max_abs"}, {"value", 5}}},
         {"config.values", {{"metric", "max_rel"}, {"value", 6}}},
         {"config.values.gray*", 7},
         {"*", 8},
         {"*.a.*.*.*.bias", 9}}}});
  judge([](Report& r) {
    EXPECT_EQ(r.tolerance_of("grad.param.w").value, 2);
    EXPECT_EQ(r.tolerance_of("grad.param.b.bias").value, 3);
    EXPECT_EQ(r.tolerance_of("grad.param.a.bias").value, 4);
    EXPECT_EQ(r.tolerance_of("output.s0.jpeg_q").value, 5);
    EXPECT_EQ(r.tolerance_of("output.s0.jpeg_q").metric, "max_abs");
    EXPECT_EQ(r.tolerance_of("config.values.0.y_crop4").value, 6);
    EXPECT_EQ(r.tolerance_of("config.values.0.gray_crop4").value, 7);
    EXPECT_EQ(r.tolerance_of("config.values.0.gray_crop4").metric, "rel_l2");
    EXPECT_EQ(r.tolerance_of("output.x").value, 8);
  });
  add("c", "k", {{"output.x", f32({1})}}, {{"fp32", 1}, {"per_tensor", {{"grad.*", 2}}}});
  judge([](Report& r) { EXPECT_EQ(r.tolerance_of("output.x").value, 1); });
}

TEST_F(Parity, EachMetricMeasuresWhatItSays) {
  const auto rule = [](const char* metric, double value) { return Json{{"metric", metric}, {"value", value}}; };
  EXPECT_NEAR(error_of({3, 4.5f}, {3, 4}, 0.2).error, 0.1, 1e-7);
  EXPECT_NEAR(error_of({3, 4.5f}, {3, 4}, rule("max_abs", 1)).error, 0.5, 1e-7);
  EXPECT_NEAR(error_of({3, 5}, {2, 4}, rule("max_rel", 1)).error, 0.5, 1e-7);
  EXPECT_NEAR(
      error_of({1, 2, 3, 4, 100}, {0, 0, 0, 0, 0}, {{"metric", "abs_quantile"}, {"value", 9}, {"quantile", 0.75}}).error, 4,
      1e-7);
  EXPECT_NEAR(error_of({1, 3}, {0, 0}, {{"metric", "abs_quantile"}, {"value", 9}, {"quantile", 0.5}}).error, 2, 1e-7);
  EXPECT_TRUE(error_of({3, 4.5f}, {3, 4}, rule("max_abs", 0.5)).passed);
  EXPECT_FALSE(error_of({3, 4.5f}, {3, 4}, rule("max_abs", 0.49)).passed);
  EXPECT_FALSE(error_of({3, 4.5f}, {3, 4}, {{"metric", "max_abs"}, {"value", 1}, {"mean_abs", 0.2}}).passed);
  EXPECT_TRUE(error_of({3, 4.5f}, {3, 4}, {{"metric", "max_abs"}, {"value", 1}, {"mean_abs", 0.25}}).passed);
  EXPECT_TRUE(error_of({0}, {0}, 0).passed);
  EXPECT_FALSE(error_of({1e-9f}, {0}, 0).passed);
}

TEST_F(Parity, NanAndInfinityKeepNoBound) {
  const float inf = std::numeric_limits<float>::infinity(), bad = float(nan);
  for (const Json& rule :
       {Json(1e30), Json{{"metric", "max_abs"}, {"value", 1e30}}, Json{{"metric", "max_rel"}, {"value", 1e30}},
        Json{{"metric", "abs_quantile"}, {"value", 1e30}, {"quantile", 1}}, Json{{"metric", "exact"}}}) {
    EXPECT_FALSE(error_of({1, bad}, {1, 1}, rule).passed) << rule;
    EXPECT_FALSE(error_of({1, 1}, {1, bad}, rule).passed) << rule;
    EXPECT_FALSE(error_of({1, inf}, {1, 1}, rule).passed) << rule;
    EXPECT_FALSE(error_of({1, 1}, {1, inf}, rule).passed) << rule;
    EXPECT_FALSE(error_of({1, inf}, {1, -inf}, rule).passed) << rule;
    EXPECT_TRUE(error_of({1, inf}, {1, inf}, rule).passed) << rule;  // equal infinities differ by 0
  }
  EXPECT_TRUE(error_of({1.0001f, inf}, {1, inf}, 1e-3).passed);  // and do not count in the size
  EXPECT_FALSE(error_of({1.01f, inf}, {1, inf}, 1e-3).passed);
}

TEST_F(Parity, ChangesAreJudgedFromTheInitialParameter) {
  const NamedTensors tensors{{"param.b", f32({1, 1, 1})}, {"final.param.b", f32({1.5f, 9, 1.5f})}};
  const auto judged = [&](const char* metric, const std::vector<float>& ours) {
    add("c", "k", tensors, {{"fp32", 1e-3}, {"per_tensor", {{"final.param.*", {{"metric", metric}, {"value", 0.1}}}}}});
    return judge([&](Report& r) { r.compare("final.param.b", f32(ours)); });
  };
  EXPECT_TRUE(judged("rel_l2_of_change", {1.5f, 9, 1.5f}).passed);
  EXPECT_NEAR(judged("rel_l2_of_change", {1.5f, 1, 1.5f}).error, 8 / std::sqrt(64.5), 1e-9);
  EXPECT_TRUE(judged("rel_l2_of_change_without_middle_third", {1.5f, -3, 1.5f}).passed);
  EXPECT_NEAR(judged("rel_l2_of_change_without_middle_third", {1.5f, 9, 1.f}).error, std::sqrt(0.5), 1e-9);
}

TEST_F(Parity, IntegersAreExactUnlessAMetricSaysOtherwise) {
  const auto pixels = [](uint8_t last) { return Tensor::of<uint8_t>({2}, {200, last}); };
  add("c", "k", {{"output.x", pixels(9)}}, {{"fp32", 0.5}});
  EXPECT_TRUE(judge([&](Report& r) { r.compare("output.x", pixels(9)); }).passed);
  EXPECT_FALSE(judge([&](Report& r) { r.compare("output.x", pixels(10)); }).passed);
  add("c", "k", {{"output.x", pixels(9)}}, {{"fp32", 0.5}, {"per_tensor", {{"*", {{"metric", "max_abs"}, {"value", 1}}}}}});
  EXPECT_TRUE(judge([&](Report& r) { r.compare("output.x", pixels(10)); }).passed);
  EXPECT_FALSE(judge([&](Report& r) { r.compare("output.x", pixels(11)); }).passed);
}

TEST_F(Parity, StructurallyZeroGradientsAreJudgedByTheirNorm) {
  add("c", "k", {{"grad.param.w", f32({30, 40})}, {"grad.param.b", f32({1e-6f, 2e-6f})}, {"grad.norm.big", f64(100)}},
      {{"fp32", 1e-3}}, Json::object(), {{"structurally_zero_gradients", {"grad.param.b"}}});
  const auto judged = [&](float noise) {
    return judge([&](Report& r) {
      r.compare_gradient("param.w", f32({30, 40}));
      r.compare_gradient("param.b", f32({0, noise}));
      r.compare_gradient("param.big", f32({60, 80}));
    });
  };
  EXPECT_TRUE(judged(0.009f).passed);
  EXPECT_FALSE(judged(0.011f).passed);
}

TEST_F(Parity, SubsampledFormsAreFoundAndAllCompared) {
  std::vector<float> image(2 * 3 * 5), tokens(4 * 2), weight(600);
  for (size_t i = 0; i < image.size(); ++i) image[i] = float(i);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = float(i);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = float(i % 7);
  double squares = 0, weight_squares = 0;
  for (const float v : image) squares += double(v) * v;
  for (const float v : weight) weight_squares += double(v) * v;
  const Tensor whole = Tensor::of<float>({1, 2, 3, 5}, image), rows = Tensor::of<float>({1, 4, 2}, tokens);
  add("c", "k",
      {{"output.y_step2", Tensor::of<float>({1, 2, 2, 3}, {0, 2, 4, 10, 12, 14, 15, 17, 19, 25, 27, 29})},
       {"output.y_sumsq", f64(squares)},
       {"grad.input.x_rows_step3", Tensor::of<float>({1, 2, 2}, {0, 1, 6, 7})},
       {"output.grad_x_sumsq", f64(140)},
       {"grad.norm.w", f64(std::sqrt(weight_squares))},
       {"grad.sample257.w", f32({weight[0], weight[257], weight[514]})}});
  const auto judged = [&](const Tensor& y) {
    return judge([&](Report& r) {
      r.compare_output("y", y);
      r.compare_gradient("input.x", rows);
      r.compare_gradient("param.w", Tensor::of<float>({20, 30}, weight));
      EXPECT_FALSE(r.stores_gradient("param.other"));
    });
  };
  const Verdict good = judged(whole);
  EXPECT_TRUE(good.passed) << (good.complaints.empty() ? "" : good.complaints.front());
  image[1] = 100;  // between the samples: only the sum of squares can see it
  const Verdict bad = judged(Tensor::of<float>({1, 2, 3, 5}, image));
  EXPECT_FALSE(bad.passed);
  EXPECT_EQ(bad.worst, "output.y_sumsq");
  EXPECT_FALSE(judged(Tensor::of<float>({1, 3, 2, 5}, image)).passed) << "another shape";
  EXPECT_FALSE(judge([&](Report& r) { r.compare_output("z", whole); }).passed) << "stored in no form";
}

TEST_F(Parity, ValuesOfTheManifestAreComparedToo) {
  add("c", "k", {}, {{"fp32", 1e-3}, {"per_tensor", {{"config.values.*psnr*", {{"metric", "max_abs"}, {"value", 0.01}}}}}},
      {{"values", {{"0", {{"psnr_y", 30.0}, {"ssim_y", 0.5}}}}}});
  const auto judged = [&](double psnr, double ssim) {
    return judge([&](Report& r) { r.compare_value("0.psnr_y", psnr), r.compare_value("0.ssim_y", ssim); });
  };
  EXPECT_TRUE(judged(30.009, 0.5004).passed);
  EXPECT_FALSE(judged(30.011, 0.5).passed);
  EXPECT_FALSE(judged(30, 0.501).passed);
  EXPECT_FALSE(judged(nan, 0.5).passed);
  EXPECT_FALSE(judge([](Report& r) { r.compare_value("0.psnr_y", 30); }).passed) << "one number was left out";
}

TEST_F(Parity, SkippedTensorsNeedNoComparison) {
  add("c", "k", {{"output.a", f32({1})}, {"output.bytes", f32({1})}},
      {{"fp32", 1e-3}, {"per_tensor", {{"output.bytes", {{"metric", "skip"}}}}}});
  EXPECT_TRUE(judge([](Report& r) { r.compare_output("a", f32({1})); }).passed);
  EXPECT_FALSE(judge([](Report& r) { r.compare_output("bytes", f32({1})); }).passed);
}

TEST_F(Parity, WrongShapesAndNamesAreComplaints) {
  add("c", "k", {{"output.a", f32({1, 2})}});
  const Verdict shape = judge([](Report& r) { r.compare("output.a", f32({1})); });
  ASSERT_EQ(shape.complaints.size(), 1u);
  EXPECT_EQ(shape.complaints[0], "output.a: ours is [1], stored is [2]");
  EXPECT_FALSE(judge([](Report& r) { r.compare("output.a", f32({1, 2})), r.compare("output.b", f32({1})); }).passed);
}

TEST_F(Parity, ProceduralValuesFollowTheRule) {
  EXPECT_EQ(fnv1a("abc:weight"), 0xa44255e74a835cffu);
  const Tensor t = generate("abc", "weight", {4}, 0.25, 0.37);
  const double expected[] = {0.013174158520996571, 0.5706303715705872, -0.08345257490873337, 0.27542024850845337};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(t.data<float>()[i], float(expected[i]));
}

TEST_F(Parity, WeightsComeFromTheFileOrTheRule) {
  Tensor half = Tensor::empty({1}, DType::f16);
  half.data<Float16>()[0] = Float16(0.5f);
  write_file_atomically(folder_ / "p.procedural.json",
                        R"({"tag":"abc","params":[{"name":"unet.weight","shape":[2,2],"center":0,"amp":1}],
                            "inputs":[{"name":"input.x","shape":[3],"center":1,"amp":0}]})");
  add("c", "k", {{"param.unet.half", half}, {"buffer.unet.index", Tensor::of<int64_t>({1}, {3})}, {"param.vae.w", f32({1})}},
      {{"fp32", 1e-3}}, {{"procedural", "p.procedural.json"}});
  Case c(folder_, manifest_["cases"].back());
  c.load();
  EXPECT_EQ(c.tensor("input.x").data<float>()[2], 1.f);
  EXPECT_EQ(c.tensor("param.unet.weight").shape(), (Shape{2, 2}));
  EXPECT_EQ(c.tensor("param.unet.weight").data<float>()[3], generate("abc", "unet.weight", {2, 2}, 0, 1).data<float>()[3]);
  const auto weights = c.weights("unet.");
  EXPECT_EQ(weights->tensors().size(), 3u);
  EXPECT_EQ(weights->find("half")->dtype, DType::f32);
  EXPECT_EQ(weights->read("half").data<float>()[0], 0.5f);
  EXPECT_EQ(weights->read("index").data<int64_t>()[0], 3);
  EXPECT_EQ(weights->find("w"), nullptr);
  EXPECT_THROW(c.tensor("param.unet.wieght"), InputError);
}

TEST_F(Parity, ChannelsMoveThereAndBack) {
  const Tensor first = Tensor::of<float>({1, 2, 1, 3}, {0, 1, 2, 10, 11, 12});
  const Tensor last = to_channels_last(first);
  EXPECT_EQ(last.shape(), (Shape{1, 1, 3, 2}));
  EXPECT_EQ(std::vector<float>(last.data<float>(), last.data<float>() + 6), (std::vector<float>{0, 10, 1, 11, 2, 12}));
  const Tensor back = to_channels_first(last);
  EXPECT_EQ(back.shape(), first.shape());
  EXPECT_EQ(std::vector<float>(back.data<float>(), back.data<float>() + 6), (std::vector<float>{0, 1, 2, 10, 11, 12}));
}

TEST_F(Parity, OptionsNameCaseAndKeyWhenTheyAreWrong) {
  add("c", "k", {}, {{"fp32", 1}}, {{"depths", {2, 2}}, {"ratio", 2}, {"size", 2.5}, {"name", "x"}});
  const Case c(folder_, manifest_["cases"].back());
  EXPECT_EQ(c.option<std::vector<int>>("depths"), (std::vector<int>{2, 2}));
  EXPECT_EQ(c.option<double>("ratio"), 2.0);
  EXPECT_EQ(c.option("absent", 7), 7);
  for (const char* key : {"size", "name", "absent", "depths"}) {
    try {
      c.option<int>(key);
      FAIL() << key;
    } catch (const InputError& error) {
      EXPECT_MENTIONS(std::string(error.what()), std::string("case c: '") + key + "'");
    }
  }
}

TEST_F(Parity, HostileManifestsAreNamedErrors) {
  const auto refused = [&](const std::string& text, const std::string& part) {
    write_file_atomically(folder_ / "manifest.json", text);
    try {
      read_manifest(folder_);
      ADD_FAILURE() << "accepted: " << text.substr(0, 100);
    } catch (const InputError& error) {
      EXPECT_MENTIONS(std::string(error.what()), "manifest.json");
      EXPECT_MENTIONS(std::string(error.what()), part);
    }
  };
  EXPECT_THROW(read_manifest(folder_), InputError);  // no manifest
  refused("{", "not valid JSON");
  refused("[]", "no list under 'cases'");
  refused(R"({"cases":{}})", "no list under 'cases'");
  refused(R"({"cases":[3]})", "not an object");
  refused(R"({"cases":[{"name":3}]})", "'name' is missing or not a text");
  refused(R"({"cases":[{"name":"a","file":"f"}]})", "'kind' is missing");
  refused(R"({"cases":[{"name":"a","kind":"k","file":"f","config":[]}]})", "'config' is missing");
  const std::string entry = R"({"name":"a","kind":"k","file":"f","config":{}})";
  refused(R"({"cases":[)" + entry + "," + entry + "]}", "two cases named 'a'");
  refused(R"({"cases":[)" + std::string(100000, '['), "levels deep");
}

TEST_F(Parity, HostileCasesFailAloneWithAMessage) {
  const Json tolerance{{"fp32", 1e-3}};
  const auto entry = [&](const char* name, Json change) {
    Json e{{"name", name}, {"kind", "good"}, {"file", "ok.safetensors"}, {"config", Json::object()}, {"tolerance", tolerance}};
    e.update(change);
    manifest_["cases"].push_back(e);
  };
  add("ok", "good", {{"input.x", f32({1})}, {"output.y", f32({1})}});
  entry("missing", {{"file", "missing.safetensors"}});
  entry("outside", {{"file", "../ok.safetensors"}});
  entry("no_rules", {{"tolerance", 3}});
  entry("no_bound", {{"tolerance", Json::object()}});
  entry("metric", {{"tolerance", {{"fp32", 1}, {"per_tensor", {{"*", {{"metric", "vibes"}, {"value", 1}}}}}}}});
  entry("negative", {{"tolerance", {{"fp32", -1}}}});
  entry("listed", {{"tensors", {{{"name", "output.gone"}, {"shape", Json::array()}}}}});
  entry("misshapen", {{"tensors", {{{"name", "output.y"}, {"shape", {2}}}}}});
  entry("procedural", {{"config", {{"procedural", "missing.json"}}}});
  const std::string out = run(kinds_);
  EXPECT_EQ(last_line(out), "1 passed, 9 failed, 0 not implemented");
  for (const char* part : {"missing.safetensors: cannot open", "'../ok.safetensors' is not a plain file name",
                           "'tolerance' is missing or not an object", "tolerance.fp32 is missing", "unknown metric 'vibes'",
                           "not a number from 0 up", "lists 'output.gone'", "the manifest lists [2]", "missing.json"})
    EXPECT_MENTIONS(out, part);
}

TEST_F(Parity, HostileProceduralFilesAreNamedErrors) {
  const auto refused = [&](const std::string& text, const std::string& part) {
    const auto path = folder_ / "p.json";
    write_file_atomically(path, text);
    try {
      ProceduralSource source(path);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const InputError& error) {
      EXPECT_MENTIONS(std::string(error.what()), part);
    }
  };
  const auto one = [](const std::string& entry) { return R"({"tag":"t","inputs":[],"params":[)" + entry + "]}"; };
  refused("nonsense", "not valid JSON");
  refused("{}", "'tag'");
  refused(R"({"tag":"t","params":[]})", "'inputs'");
  refused(one("3"), "has no name");
  refused(one(R"({"name":"w"})"), "shape is missing");
  refused(one(R"({"name":"w","shape":[-1],"center":0,"amp":1})"), "non-negative");
  refused(one(R"({"name":"w","shape":[4294967296,4294967296],"center":0,"amp":1})"), "elements");
  refused(one(R"({"name":"w","shape":[1],"center":"0","amp":1})"), "center is not a number");
  refused(one(R"({"name":"w","shape":[],"center":0,"amp":1},{"name":"w","shape":[],"center":0,"amp":1})"), "twice");
  refused(R"({"tag":"t","params":[],"inputs":[{"name":"x","shape":[],"center":0,"amp":1}]})", "begins with 'input.'");
}

}  // namespace
}  // namespace relume::parity
