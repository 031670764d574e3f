// Every operation of bench_cases() (tests/support/op_cases.cpp) on one device: time, FLOP/s and bandwidth, each as a share of
// what the same device reached a moment before with a large product and a large copy of the same type.
//
//   device_bench --device cuda --dtype f32 bf16 f16 --filter 'conv2d/*' --json ops.json
//
// Standard output gets a Markdown table. Forward runs as in inference; backward, f32 alone, is the gradient towards every
// input. A case that the device refuses is listed with what it said.
#include "autograd/graph.h"
#include "autograd/matmul.h"
#include "base/files.h"
#include "base/machine.h"
#include "base/text.h"
#include "base/version.h"
#include "bench/serve.h"
#include "bench/stopwatch.h"
#include "tests/support/numbers.h"
#include "tests/support/op_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

namespace relume::test {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string device = "cuda", filter = "*";
  std::vector<std::string> dtypes{"f32", "bf16", "f16"};
  std::filesystem::path json;
  double seconds = 0.02;  // of a sample
};

const std::map<std::string, DType> dtypes{{"f32", DType::f32}, {"bf16", DType::bf16}, {"f16", DType::f16}};

std::string name_of_device(Device device) {
  if (device.kind == DeviceKind::cuda) return gpus().found[size_t(device.index)].name;
  return fmt::format("{}, {} threads, {}", processors().model, cpu_backend().threads, cpu_backend().instructions);
}

// Median, least and most of five samples, in seconds of one call; `before` is not timed.
struct Timing {
  double median = 0, least = 0, most = 0;
};
template <class Before, class Work> Timing measure(Device device, double sample_seconds, Before&& before, Work&& work) {
  constexpr int samples = 5, most_calls = 200;
  Stopwatch watch(device);
  const auto calls = [&](int count) {
    for (int i = 0; i < count; ++i) {
      before();
      watch.start();
      work();
      watch.stop();
    }
    return watch.seconds() / count;
  };
  calls(2);  // plans are made and weights packed
  const int count = int(std::clamp(sample_seconds / calls(1), 1.0, double(most_calls)));
  std::vector<double> seconds(samples);
  for (double& s : seconds) s = calls(count);
  std::ranges::sort(seconds);
  return {seconds[samples / 2], seconds.front(), seconds.back()};
}

double bytes_of(const Tensor& t) { return double(t.numel() * size_of(t.dtype())); }

// What the device reaches, to compare with.
struct Reach {
  double flops = 0, bytes = 0;  // a second
};
Reach reach_of(Device device, DType dtype, double sample_seconds) {
  const NoGrad no_grad;
  const int64_t side = device.kind == DeviceKind::cpu ? 1024 : 8192, megabytes = device.kind == DeviceKind::cpu ? 64 : 1024;
  const auto numbers = [&](const Shape& shape) { return uniform(shape, 5).to(dtype).to(device); };
  const Tensor a = numbers({side, side}), b = numbers({side, side});
  const Tensor from = Tensor::zeros({megabytes << 20}, DType::u8, device), to = empty_like(from);
  const auto nothing = [] {};
  const double product = measure(device, sample_seconds, nothing, [&] { linear(a, b, {}); }).median;
  const double copy = measure(device, sample_seconds, nothing, [&] { to.copy_from(from); }).median;
  return {2 * double(side * side * side) / product, 2 * bytes_of(to) / copy};
}

struct Result {
  std::string name, direction;
  DType dtype = DType::f32;
  Timing time;
  double flops = 0, bytes = 0;  // of one call; bytes: what must be moved at least
  std::string refused;          // why there is no time
};

std::vector<Tensor> inputs_on(Device device, const OpCase& c, DType dtype) {
  std::vector<Tensor> inputs;
  for (const Tensor& t : inputs_of(c, dtype)) inputs.push_back(t.to(device));
  return inputs;
}

void forward(Result& r, const OpCase& c, Device device, double sample_seconds) {
  const std::vector<Tensor> inputs = inputs_on(device, c, r.dtype);
  const NoGrad no_grad;
  Tensor y;
  r.time = measure(
      device, sample_seconds, [] {}, [&] { y = c.run(inputs); });
  r.flops = c.flops, r.bytes = bytes_of(y);
  for (const Tensor& x : inputs) r.bytes += bytes_of(x);
}

// Every product of the forward pass has two gradients, so the arithmetic counts twice; what a kernel recomputes counts nothing.
void gradients(Result& r, const OpCase& c, Device device, double sample_seconds) {
  std::vector<Tensor> inputs = inputs_on(device, c, r.dtype);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.inputs[i].differentiable) inputs[i] = require_grad(inputs[i]);
  Tensor y = c.run(inputs);
  const Tensor dy = uniform(y.shape(), 99).to(r.dtype).to(device);
  const auto record = [&] {
    for (const Tensor& x : inputs) clear_grad(x);
    y = c.run(inputs);
  };
  r.time = measure(device, sample_seconds, record, [&] { backward(y, dy); });
  r.flops = 2 * c.flops, r.bytes = bytes_of(dy);
  for (const Tensor& x : inputs) r.bytes += 2 * bytes_of(x);
}

template <class Run> Result result_of(const OpCase& c, const char* direction, DType dtype, Run&& run) {
  Result r{.name = c.name, .direction = direction, .dtype = dtype, .time = {}, .flops = 0, .bytes = 0, .refused = {}};
  try {
    run(r);
  } catch (const Error& error) {
    r.refused = error.what();
  }
  return r;
}

void print(const Result& r, const Reach& reach) {
  std::string cells;
  if (!r.refused.empty()) {
    cells = fmt::format("refused: {} | | | | ", printable(r.refused, 200));
  } else {
    const double t = r.time.median;
    cells = fmt::format("{:.4f} [{:.4f} .. {:.4f}] | ", t * 1e3, r.time.least * 1e3, r.time.most * 1e3);
    cells += r.flops > 0 ? fmt::format("{:.3f} | {:.0f} % | ", r.flops / t * 1e-12, 100 * r.flops / t / reach.flops) : " | | ";
    cells += fmt::format("{:.1f} | {:.0f} %", r.bytes / t * 1e-9, 100 * r.bytes / t / reach.bytes);
  }
  std::cout << fmt::format("| `{}` | {} | {} | {} |", r.name, r.direction, name_of(r.dtype), cells) << std::endl;
}

Json json_of(const Result& r, const Reach& reach) {
  Json j{{"case", r.name}, {"direction", r.direction}, {"dtype", name_of(r.dtype)}};
  if (!r.refused.empty()) {
    j["refused"] = r.refused;
    return j;
  }
  j["seconds"] = {{"median", r.time.median}, {"least", r.time.least}, {"most", r.time.most}};
  if (r.flops > 0) j["flops"] = r.flops, j["share_of_product"] = r.flops / r.time.median / reach.flops;
  j["bytes"] = r.bytes, j["share_of_copy"] = r.bytes / r.time.median / reach.bytes;
  return j;
}

void run_all(const Arguments& arguments) {
  const Device device = device_named(arguments.device);
  std::vector<const OpCase*> cases;
  for (const OpCase& c : bench_cases())
    if (glob_match(arguments.filter, c.name)) cases.push_back(&c);
  RELUME_CHECK(!cases.empty(), "--filter '", arguments.filter, "' matches no case of bench_cases()");
  Json report{
      {"device", name_of_device(device)}, {"version", version_number()}, {"reach", Json::object()}, {"cases", Json::array()}};
  std::map<DType, Reach> reach;
  std::cout << "Device: " << name_of_device(device) << "\n\n";
  for (const std::string& name : arguments.dtypes) {
    const Reach r = reach[dtypes.at(name)] = reach_of(device, dtypes.at(name), arguments.seconds);
    report["reach"][name] = {{"flops_per_second", r.flops}, {"bytes_per_second", r.bytes}};
    std::cout << fmt::format("- {}: a large product reaches {:.3f} TFLOP/s, a large copy {:.1f} GB/s\n", name, r.flops * 1e-12,
                             r.bytes * 1e-9);
  }
  std::cout << "\n| case | direction | type | ms, median [least .. most] | TFLOP/s | of the product | GB/s | of the copy |\n"
               "|---|---|---|---|---|---|---|---|"
            << std::endl;
  const auto add = [&](const Result& r) {
    print(r, reach[r.dtype]);
    report["cases"].push_back(json_of(r, reach[r.dtype]));
  };
  for (const OpCase* c : cases)
    for (const std::string& name : arguments.dtypes) {
      const DType dtype = dtypes.at(name);
      add(result_of(*c, "forward", dtype, [&](Result& r) { forward(r, *c, device, arguments.seconds); }));
      if (dtype == DType::f32)
        add(result_of(*c, "backward", dtype, [&](Result& r) { gradients(r, *c, device, arguments.seconds); }));
    }
  if (!arguments.json.empty()) write_file_atomically(arguments.json, report.dump(1) + "\n");
}

Arguments parse(CLI::App& app, int argc, char** argv) {
  Arguments a;
  app.add_option("--device", a.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--dtype", a.dtypes, "of the inputs")->check(CLI::IsMember(dtypes))->capture_default_str();
  app.add_option("--filter", a.filter, "glob over the names of the cases")->capture_default_str();
  app.add_option("--json", a.json, "file for the same figures");
  app.add_option("--seconds", a.seconds, "of a sample; five are taken")->check(CLI::Range(1e-4, 10.0))->capture_default_str();
  app.parse(argc, argv);
  return a;
}

}  // namespace
}  // namespace relume::test

int main(int argc, char** argv) {
  using namespace relume;
  return bench_main("device_bench", "Single operations on one device, and how near they come to what it can do",
                    [&](CLI::App& app) { test::run_all(test::parse(app, argc, argv)); });
}
