// Kinds format_good and format_malformed: checkpoints that other programs wrote, opened as the command opens them.
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cli/parity/kinds.h"
#include "data/checkpoint/checkpoint.h"

namespace relume::parity {
namespace {

// The case's files beside its main one.
std::vector<std::string> extra_files(const Case& c) { return c.option_in<std::vector<std::string>>(c.entry(), "extra_files"); }

// Every file holds exactly the tensors of the reference file: names, types, shapes, bits.
void format_good(const Case& c, Report& report) {
  const std::vector<std::string> expected = c.names("");
  for (const std::string& file : extra_files(c)) {
    const Checkpoint checkpoint = open_checkpoint(c.path(file));
    for (const std::string& name : expected) {
      const TensorInfo* found = checkpoint.tensors->find(name);
      if (!found || found->dtype != c.info(name).dtype) {
        report.complain(detail::concat(file, ": ", name, " is ", found ? name_of(found->dtype) : "missing", ", expected ",
                                       c.info(name).dtype));
        continue;
      }
      const Tensor ours = checkpoint.tensors->read(name), theirs = c.tensor(name);
      report.compare(name, ours);
      const size_t bytes = size_t(theirs.numel() * size_of(theirs.dtype()));
      const bool same = ours.shape() == theirs.shape() && (bytes == 0 || std::memcmp(ours.raw(), theirs.raw(), bytes) == 0);
      report.check(name, same, "its bits in " + file + " differ");
    }
    report.check(file, checkpoint.tensors->tensors().size() == expected.size(),
                 detail::concat(checkpoint.tensors->tensors().size(), " tensors, expected ", expected.size()));
  }
}

// What opening a file and reading all of it ends with; empty when nothing is wrong.
std::string refusal(const std::filesystem::path& path) {
  try {
    const Checkpoint checkpoint = open_checkpoint(path);
    for (const TensorInfo& t : checkpoint.tensors->tensors()) checkpoint.tensors->read(t.name);
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

// What the manifest's sentence about a malformed file says, and what our message says then.
const std::pair<const char*, const char*> sentences[] = {
    {"central directory missing", "has no central directory"},
    {"end-of-central-directory record truncated", "end-of-central-directory record is cut off"},
    {"unknown file format", "an unknown file format"},
    {"empty file", "an empty file"},
    {"refuse the global posix.system", "refuses the global posix.system"},
    {"refuse builtins.eval (or __builtin__.eval)", "refuses the global __builtin__.eval"},
    {"a storage entry is shorter than the tensor needs", "is shorter than its pickle says"},
    {"a storage entry named by the pickle is missing", "is missing in the file"},
    {"CRC mismatch", "its CRC-32 does not match"},
    {"data shorter than the last offset", "truncated: the header describes"},
    {"header length beyond the file", "(header length"},
    {"header is not JSON", "header is not a JSON object"},
    {"byte range of int64.position_ids disagrees with dtype*shape", "tensor 'int64.position_ids' takes 616 bytes"},
    {"overlapping byte ranges", "overlaps"},
    {"unknown dtype", "has the unknown dtype"},
    {"element count overflows 64 bit", "overflows 64 bits"},
    {"shorter than 8 bytes", "shorter than 8 bytes"},
};

void format_malformed(const Case& c, Report& report) {
  std::vector<std::string> files = extra_files(c);
  files.insert(files.begin(), c.path().filename().string());
  const Json expected = c.option<Json>("expected");
  for (const std::string& file : files) {
    const auto sentence = c.option_in<std::string>(expected, file);
    const std::string message = refusal(c.path(file));
    bool understood = false;
    for (const auto& [theirs, ours] : sentences) {
      if (sentence.find(theirs) == std::string::npos) continue;
      understood = true;
      report.check(
          file, message.find(ours) != std::string::npos,
          message.empty() ? "was read, expected '" + sentence + "'" : "expected '" + sentence + "', got '" + message + "'");
    }
    report.check(file, understood, "no message of ours is known for '" + sentence + "'");
  }
}

}  // namespace

void register_format_kinds(Kinds& kinds) {
  kinds["format_good"] = format_good;
  kinds["format_malformed"] = format_malformed;
}

}  // namespace relume::parity
