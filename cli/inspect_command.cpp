// relume inspect: what a file of weights holds, which network it is, and whether it is whole.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/commands.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/mapped_tensor.h"
#include "infer/load_control_ldm.h"
#include "infer/load_network.h"
#include "models/recognise.h"

namespace relume {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t first_lines = 10;     // of the table without --tensors
constexpr size_t longest_value = 100;  // of metadata
constexpr size_t widest_name = 80;

struct InspectArguments {
  std::filesystem::path file;
  bool tensors = false, json = false;
};

struct Totals {
  int64_t tensors = 0, numbers = 0, bytes = 0;
  void add(const TensorInfo& t) { ++tensors, numbers += t.shape.numel(), bytes += bytes_of(t); }
};

// What is known of a file before anything is printed.
struct Inspection {
  Checkpoint checkpoint;
  RecognisedNetwork network;
  std::optional<SwinIRConfig> stored;  // configuration that the file carries
  std::string stored_problem;          // why that one cannot be used
  Totals all;
  std::map<std::string, Totals> by_type;
};

Inspection inspect(const std::filesystem::path& file) {
  Inspection i{.checkpoint = open_networks(file)};
  const std::vector<TensorInfo>& tensors = i.checkpoint.tensors->tensors();
  i.network = recognise_network(tensors);
  try {
    i.stored = stored_swinir_config(i.checkpoint);
  } catch (const InputError& error) {
    i.stored_problem = error.what();
  }
  if (i.stored && i.network.swinir) i.network.fit = fit_layout(swinir_layout(*i.stored), tensors);
  for (const TensorInfo& t : tensors) {
    i.all.add(t);
    i.by_type[name_of(t.dtype)].add(t);
  }
  return i;
}

std::string counts_line(const Totals& t) {
  return fmt::format("{} tensors, {} numbers, {}", grouped(t.tensors), grouped(t.numbers), human_bytes(double(t.bytes)));
}

// The configuration on a few lines: what tells one SwinIR from another.
std::string config_lines(const SwinIRConfig& c) {
  static constexpr const char* form =
      "embed_dim {}, depths [{}], num_heads [{}],\n"
      "           window_size {}, mlp_ratio {}, img_size {}, in_chans {}, upsampler '{}', sf {},\n"
      "           unshuffle {}, outer_unshuffle {}, resi_connection {}, img_range {}";
  return fmt::format(form, c.embed_dim, fmt::join(c.depths, ", "), fmt::join(c.num_heads, ", "), c.window_size, c.mlp_ratio,
                     c.img_size, c.in_chans, c.upsampler, c.sf, c.unshuffle ? "on" : "off", c.outer_unshuffle,
                     c.resi_connection, c.img_range);
}

void print_network(const Inspection& i) {
  const RecognisedNetwork& n = i.network;
  if (!i.stored_problem.empty()) fmt::print("damaged:   {}\n", i.stored_problem);
  if (n.name.empty()) return fmt::print("network:   none that is known\n");
  if (!n.swinir) {
    fmt::print("network:   {}\n", n.name);
    for (const std::string& part : n.parts) fmt::print("           {}\n", part);
    fmt::print("use:       {}\n", n.use.empty() ? "no command of this version runs it by itself" : n.use);
    return;
  }
  const std::string& contradiction = n.swinir->contradiction;
  if (!i.stored && !contradiction.empty())
    return fmt::print("network:   SwinIR, whose shapes contradict each other: {}\n", contradiction);
  fmt::print("network:   SwinIR, {}: {}\n", n.fit.whole() ? "whole" : "not whole", summary(n.fit));
  fmt::print("           {}\n", config_lines(i.stored ? *i.stored : n.swinir->config));
  if (i.stored)
    fmt::print("           its configuration stands in the file\n");
  else
    fmt::print("           inferred from names and shapes; what they do not show is assumed:\n             {}\n",
               fmt::join(n.swinir->assumed, "\n             "));
  if (!n.fit.whole()) fmt::print("{}\n", listing(n.fit).substr(1));
}

void print_tensors(const std::vector<TensorInfo>& tensors, bool all) {
  const size_t shown = all ? tensors.size() : std::min(tensors.size(), first_lines);
  size_t width = 4;
  for (size_t i = 0; i < shown; ++i) width = std::clamp(printable(tensors[i].name, SIZE_MAX).size(), width, widest_name);
  if (shown > 0) fmt::print("\n{:<{}}  {:<5}  shape\n", "name", width, "type");
  for (size_t i = 0; i < shown; ++i) {
    const TensorInfo& t = tensors[i];
    fmt::print("{:<{}}  {:<5}  {}\n", printable(t.name, SIZE_MAX), width, name_of(t.dtype), detail::concat(t.shape));
  }
  if (shown < tensors.size()) fmt::print("and {} more; --tensors lists them\n", grouped(int64_t(tensors.size() - shown)));
}

void print(const Inspection& i, bool all_tensors) {
  const Checkpoint& c = i.checkpoint;
  fmt::print("format:    {}, {}\n", c.format, human_bytes(double(c.file_bytes)));
  for (const std::string& line : c.taken) fmt::print("taken:     {}\n", line);
  for (const std::string& line : c.beside) fmt::print("left:      {}\n", line);
  for (const auto& [key, value] : c.metadata)
    fmt::print("metadata:  {}: {}\n", printable(key), printable(value, longest_value));
  fmt::print("holds:     {}\n", counts_line(i.all));
  if (i.by_type.size() > 1)
    for (const auto& [type, totals] : i.by_type) fmt::print("           {:<4} {}\n", type, counts_line(totals));
  print_network(i);
  print_tensors(c.tensors->tensors(), all_tensors);
}

Json json_of(const Totals& t) { return {{"tensors", t.tensors}, {"numbers", t.numbers}, {"bytes", t.bytes}}; }

Json json_of_network(const Inspection& i) {
  const RecognisedNetwork& n = i.network;
  const std::optional<SwinIRConfig>& stored = i.stored;
  Json out{{"name", n.name.empty() ? Json() : Json(n.name)}, {"use", n.use.empty() ? Json() : Json(n.use)}};
  if (!n.parts.empty()) out["parts"] = n.parts;
  if (!i.stored_problem.empty()) out["stored_config_problem"] = i.stored_problem;
  if (!n.swinir) return out;
  const bool contradicts = !stored && !n.swinir->contradiction.empty();
  if (contradicts) out["contradiction"] = n.swinir->contradiction;
  out["config"] = to_yaml(stored ? *stored : n.swinir->config);
  out["config_is_stored"] = stored.has_value();
  if (!stored) out["assumed"] = n.swinir->assumed;
  if (contradicts) return out;
  out["fit"] = {{"whole", n.fit.whole()},   {"expected", n.fit.expected},     {"fitting", n.fit.fitting},
                {"missing", n.fit.missing}, {"unexpected", n.fit.unexpected}, {"misshaped", n.fit.misshaped}};
  return out;
}

void print_json(const Inspection& i, const std::filesystem::path& file, bool all_tensors) {
  const Checkpoint& c = i.checkpoint;
  Json report{{"file", file.string()}, {"format", c.format},     {"bytes", c.file_bytes},   {"taken", c.taken},
              {"left", c.beside},      {"metadata", c.metadata}, {"totals", json_of(i.all)}};
  report["types"] = Json::object();
  for (const auto& [type, totals] : i.by_type) report["types"][type] = json_of(totals);
  report["network"] = json_of_network(i);
  if (all_tensors) {
    report["tensors"] = Json::array();
    for (const TensorInfo& t : c.tensors->tensors())
      report["tensors"].push_back({{"name", t.name}, {"type", name_of(t.dtype)}, {"shape", t.shape.sizes()}});
  }
  std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a file of weights holds and which network it fits");
  const auto a = std::make_shared<InspectArguments>();
  command
      ->add_option("file", a->file,
                   "Weights: safetensors, PyTorch (.pth, .ckpt), HDF5, a training state, a folder of diffusers")
      ->required()
      ->type_name("FILE");
  command->add_flag("--tensors", a->tensors, "List every tensor, not the first ten");
  command->add_flag("--json", a->json, "Print one JSON object");
  command->footer(
      "Nothing that a file holds is executed; tensors are not read, only what describes them.\n"
      "Examples: relume inspect stage1.pth\n"
      "          relume inspect stage1.pth --json | jq .network.fit.missing");
  command->callback([a] {
    const Inspection inspection = inspect(a->file);
    if (a->json)
      print_json(inspection, a->file, a->tensors);
    else
      print(inspection, a->tensors);
  });
}

}  // namespace relume
