// TensorBoard's event file: records of length, checksum, payload, checksum, whose payloads are protobuf messages (tensorflow's
// event.proto and summary.proto; the six fields needed here are written by hand).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/append_file.h"

namespace relume {

class EventFile {
 public:
  // Continues behind the first `keep` bytes; an empty file gets its header. TensorBoard finds it because its name contains
  // "tfevents".
  EventFile(std::filesystem::path path, int64_t keep);

  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);  // tag ("train/loss"), value
  // `encoded`: the bytes of a PNG or JPEG file of that size in RGB.
  void picture(int64_t step, const std::string& tag, std::string_view encoded, int64_t height, int64_t width);

  AppendFile& file() { return file_; }

 private:
  void write_event(int64_t step, std::string_view summary);
  void write_record(std::string_view payload);
  AppendFile file_;
};

uint32_t crc32c(std::string_view bytes);  // Castagnoli's

}  // namespace relume
