#include "train/event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>

namespace relume {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

template <class T> std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Protobuf's wire format: a field is its number and kind, then the value.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += char(value | 0x80);
  return bytes += char(value);
}
std::string field(int number, uint64_t value) { return varint(uint64_t(number) << 3) + varint(value); }
std::string field(int number, double value) { return varint(uint64_t(number) << 3 | 1) + raw(value); }
std::string field(int number, float value) { return varint(uint64_t(number) << 3 | 5) + raw(value); }
std::string field(int number, std::string_view bytes) {
  return varint(uint64_t(number) << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

// Field numbers of the messages.
enum EventField { wall_time = 1, step_field = 2, file_version = 3, summary_field = 5 };
enum SummaryField { value_field = 1 };
enum ValueField { tag_field = 1, simple_value = 2, image_field = 4 };
enum ImageField { image_height = 1, image_width = 2, image_colorspace = 3, image_bytes = 4 };
constexpr uint64_t rgb = 3;

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string masked_crc(std::string_view bytes) { return raw(std::rotr(crc32c(bytes), 15) + 0xA282EAD8u); }

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
      made[i] = c;
    }
    return made;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = table[uint8_t(crc ^ uint8_t(c))] ^ crc >> 8;
  return ~crc;
}

EventFile::EventFile(std::filesystem::path path, int64_t keep) : file_(std::move(path), keep) {
  if (file_.size() == 0) write_record(field(wall_time, now()) + field(file_version, std::string_view("brain.Event:2")));
}

void EventFile::write_record(std::string_view payload) {
  const std::string length = raw(uint64_t(payload.size()));
  std::string record = length + masked_crc(length);
  record.append(payload);
  file_.write(record + masked_crc(payload));
}

void EventFile::write_event(int64_t step, std::string_view summary) {
  write_record(field(wall_time, now()) + field(step_field, uint64_t(step)) + field(summary_field, summary));
}

void EventFile::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [tag, value] : values)
    summary += field(value_field, field(tag_field, std::string_view(tag)) + field(simple_value, float(value)));
  write_event(step, summary);
}

void EventFile::picture(int64_t step, const std::string& tag, std::string_view encoded, int64_t height, int64_t width) {
  const std::string image = field(image_height, uint64_t(height)) + field(image_width, uint64_t(width)) +
                            field(image_colorspace, rgb) + field(image_bytes, encoded);
  write_event(step, field(value_field, field(tag_field, std::string_view(tag)) + field(image_field, std::string_view(image))));
}

}  // namespace relume
