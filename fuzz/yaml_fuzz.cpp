// A configuration of stage one: what stands before the first NUL is the file, each further part an override of the command
// line. An InputError whose lines name the file or the command line, or a configuration that reads back as it was written.
#include <cstdint>
#include <string>
#include <vector>

#include "base/text.h"
#include "fuzz/tensors.h"
#include "train/stage1_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  std::vector<std::string> parts = split({reinterpret_cast<const char*>(data), size}, '\0');
  if (parts.empty()) return 0;
  const std::string text = parts.front();
  parts.erase(parts.begin());
  try {
    const auto config = read_config_text<Stage1Config>(text, "c.yaml", parts);
    const std::string written = to_yaml(config);
    fuzz::require(to_yaml(read_config_text<Stage1Config>(written, "written")) == written);
  } catch (const InputError& error) {
    for (const std::string& line : split(error.what(), '\n'))
      fuzz::require(line.starts_with("c.yaml:") || line.starts_with("command line: ") || line.starts_with("  "));
  }
  try {
    read_config_section<SwinIRConfig>(text, "c.yaml", "model");
  } catch (const InputError& error) {
    fuzz::require(std::string_view(error.what()).starts_with("c.yaml:"));
  }
  return 0;
}
