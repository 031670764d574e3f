// Kind state_dict_inventory: names, shapes and types of everything that the published classes keep, in its order.
#include <algorithm>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "cli/parity/kinds.h"

namespace relume::parity {
namespace {

constexpr int64_t max_inventory_file = int64_t(1) << 26;  // bytes

struct Inventory {
  std::vector<std::string> parameters, buffers;  // a line each: name, shape, type
};

std::unique_ptr<Module> network_of(const Case& c, const std::string& name, const Json& call) {
  if (name == "swinir") return std::make_unique<SwinIR>(swinir_config_of(c, call));
  if (name == "bsrnet") return std::make_unique<RRDBNet>(config_of_call<RRDBNetConfig>(c, call));
  if (name == "scunet") return std::make_unique<SCUNet>(config_of_call<SCUNetConfig>(c, call));
  if (name == "unet") return std::make_unique<UNet>(unet_config_of(c, call));
  if (name == "controlnet") return std::make_unique<ControlNet>(control_net_config_of(c, call));
  if (name == "vae") return std::make_unique<AutoencoderKL>(autoencoder_config_of(c, call));
  if (name == "clip") return std::make_unique<ClipText>(nullptr, "", clip_text_config_of(c, call));
  throw NotImplemented("inventory of " + name);
}

std::string line_of(const std::string& name, const Shape& shape, const std::string& dtype) {
  std::ostringstream line;
  line << name << ' ' << shape << ' ' << dtype;
  return line.str();
}

std::vector<std::string> lines_of(const std::vector<NamedTensor>& tensors, const std::string& prefix) {
  std::vector<std::string> lines;
  for (const NamedTensor& t : tensors)
    lines.push_back(line_of(prefix + t.name, stored_shape(t.tensor.shape(), t.stored_as),
                            t.tensor.dtype() == DType::i64 ? "int64" : "float32"));
  return lines;
}

Inventory listed(const Case& c, const Json& network) {
  Inventory all;
  for (const Json& row : c.option_in<std::vector<Json>>(network, "tensors")) {
    RELUME_CHECK(row.is_array() && row.size() == 4, c.name(), ": ", row.dump(), " is no [name, shape, type, kind]");
    const auto sizes = row[1].get<std::vector<int64_t>>();
    const std::string line =
        line_of(row[0].get<std::string>(), Shape(std::span<const int64_t>(sizes)), row[2].get<std::string>());
    (row[3] == "buffer" ? all.buffers : all.parameters).push_back(line);
  }
  return all;
}

void check_lines(Report& report, const std::string& what, const std::vector<std::string>& ours,
                 const std::vector<std::string>& theirs) {
  size_t same = 0;
  while (same < ours.size() && same < theirs.size() && ours[same] == theirs[same]) ++same;
  const auto at = [&](const std::vector<std::string>& lines) { return same < lines.size() ? lines[same] : "nothing"; };
  report.check(what, ours == theirs, "ours is '" + at(ours) + "' where '" + at(theirs) + "' is listed");
}

void run_inventory(const Case& c, Report& report) {
  const Json file = Json::parse(read_file(c.path(), max_inventory_file));
  for (const auto& [name, network] : file.items()) {
    const auto ours = network_of(c, name, c.option_in<Json>(network, "config"));
    const std::string prefix = name == "clip" ? "model." : "";  // the reference's text encoder holds its tower as that
    Inventory theirs = listed(c, network);
    std::vector<std::string> buffers = lines_of(ours->buffers(), prefix);
    std::ranges::sort(buffers);  // optimisers number parameters; the order of buffers means nothing
    std::ranges::sort(theirs.buffers);
    check_lines(report, name + ".parameters", lines_of(ours->parameters(), prefix), theirs.parameters);
    check_lines(report, name + ".buffers", buffers, theirs.buffers);
    report.check(name + ".num_parameters", ours->parameter_count() == c.option_in<int64_t>(network, "num_parameters"),
                 "ours has " + std::to_string(ours->parameter_count()));
  }
}

}  // namespace

void register_inventory_kinds(Kinds& kinds) { kinds["state_dict_inventory"] = run_inventory; }

}  // namespace relume::parity
