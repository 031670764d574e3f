// What two runs of one training must have in common: everything they write but the times.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "train/run_log.h"

namespace relume::test {

// The lines of a log without their time fields.
inline std::vector<std::string> comparable_log(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for (const std::string& line : split(read_file(path), '\n')) {
    if (line.empty()) continue;
    auto json = nlohmann::ordered_json::parse(line);
    for (const std::string& field : time_fields) json.erase(field);
    lines.push_back(json.dump());
  }
  return lines;
}

// The values of a TensorBoard file, each with its step, without times: checks the framing on the way.
inline std::vector<std::string> comparable_events(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::vector<std::string> values;
  const auto number_at = [](const std::string& bytes, size_t at, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, size);
    return value;
  };
  const auto varint = [](const std::string& bytes, size_t& at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = uint8_t(bytes.at(at++));
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  };
  for (size_t at = 0; at < file.size();) {
    if (file.size() - at < 16) throw Error("a record of " + std::to_string(file.size() - at) + " bytes");
    const size_t length = number_at(file, at, 8);
    const std::string payload = file.substr(at + 12, length);
    EXPECT_EQ(payload.size(), length);
    const uint32_t crc = crc32c(payload);
    EXPECT_EQ(number_at(file, at + 12 + length, 4), uint32_t((crc >> 15 | crc << 17) + 0xA282EAD8u));
    at += length + 16;
    size_t in = 9;                         // behind the wall time
    if (payload.at(in) == 0x1A) continue;  // the header
    ++in;
    const uint64_t step = varint(payload, in);
    ++in;
    const size_t end = varint(payload, in) + in;
    while (in < end) {
      ++in;
      const size_t value_end = varint(payload, in) + in;
      const std::string value = payload.substr(in, value_end - in);
      in = value_end;
      const bool is_time =
          std::ranges::any_of(time_fields, [&](const std::string& f) { return value.find("/" + f) != value.npos; });
      if (!is_time) values.push_back(std::to_string(step) + " " + value);
    }
  }
  return values;
}

// Expects two folders of trainings to agree: the same files, the same bytes but for times.
inline void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto files = [](const std::filesystem::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.is_regular_file()) names.push_back(std::filesystem::relative(entry.path(), folder).generic_string());
    std::ranges::sort(names);
    return names;
  };
  const std::vector<std::string> names = files(a);
  ASSERT_EQ(names, files(b));
  for (const std::string& name : names) {
    if (name == "log.jsonl") {
      EXPECT_EQ(comparable_log(a / name), comparable_log(b / name));
    } else if (name.find("tfevents") != std::string::npos) {
      EXPECT_TRUE(comparable_events(a / name) == comparable_events(b / name)) << name;
    } else if (!name.ends_with(".json")) {  // manifests hold the time that the training took
      EXPECT_TRUE(read_file(a / name) == read_file(b / name)) << name;
    }
  }
}

}  // namespace relume::test
