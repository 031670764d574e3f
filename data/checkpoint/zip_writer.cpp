#include "data/checkpoint/zip_writer.h"

#include "base/error.h"
#include "data/checkpoint/zip_file.h"

namespace relume {
namespace {

constexpr size_t alignment = 64, local_bytes = 30, padding_head = 4, max_name = 1024;
constexpr int utf8_names = 0x800, plain_version = 20, zip64_version = 45;
constexpr int first_day = 0x21;  // 1 January 1980
constexpr int padding_id = 0x4246;

void put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += char(value >> (8 * i) & 0xFF);
}

}  // namespace

void ZipWriter::write(std::string_view bytes) {
  file_.write(bytes);
  at_ += bytes.size();
}

void ZipWriter::add(const std::string& name, const void* data, size_t bytes) {
  RELUME_BUG(!name.empty() && name.size() <= max_name, "a ZIP entry with a name of ", name.size(), " bytes");
  const std::string_view contents(static_cast<const char*>(data), bytes);
  const uint32_t crc = crc32_of(contents);
  const bool wide_size = bytes >= zip64_from_, wide = wide_size || at_ >= zip64_from_;
  const uint64_t begin = at_;

  // What both headers say, from the flags to the length of the name.
  std::string common;
  put(common, utf8_names, 2), put(common, 0, 2), put(common, 0, 2), put(common, first_day, 2), put(common, crc, 4);
  for (int i = 0; i < 2; ++i) put(common, wide_size ? 0xFFFFFFFF : bytes, 4);
  put(common, name.size(), 2);

  std::string local("PK\3\4", 4), extra;
  if (wide_size) put(extra, 1, 2), put(extra, 16, 2), put(extra, bytes, 8), put(extra, bytes, 8);
  const size_t before = at_ + local_bytes + name.size() + extra.size() + padding_head;
  const size_t padding = (alignment - before % alignment) % alignment;
  put(extra, padding_id, 2), put(extra, padding, 2), extra.append(padding, 'Z');
  put(local, wide_size ? zip64_version : plain_version, 2);
  local += common;
  put(local, extra.size(), 2);
  write(local + name + extra);
  write(contents);

  std::string fields;
  if (wide_size) put(fields, bytes, 8), put(fields, bytes, 8);
  if (begin >= zip64_from_) put(fields, begin, 8);
  directory_ += std::string("PK\1\2", 4);
  put(directory_, wide ? zip64_version : plain_version, 2), put(directory_, wide ? zip64_version : plain_version, 2);
  directory_ += common;
  put(directory_, fields.empty() ? 0 : fields.size() + 4, 2), put(directory_, 0, 2);  // extra field, comment
  put(directory_, 0, 2), put(directory_, 0, 2), put(directory_, 0, 4);                // disk, attributes
  put(directory_, begin >= zip64_from_ ? 0xFFFFFFFF : begin, 4);
  directory_ += name;
  if (!fields.empty()) put(directory_, 1, 2), put(directory_, fields.size(), 2), directory_ += fields;
  ++entries_;
}

void ZipWriter::commit() {
  const uint64_t begin = at_, bytes = directory_.size();
  const bool wide = begin >= zip64_from_ || bytes >= zip64_from_ || entries_ >= 0xFFFF;
  std::string end;
  if (wide) {
    end += std::string("PK\6\6", 4);
    put(end, 44, 8), put(end, zip64_version, 2), put(end, zip64_version, 2), put(end, 0, 4), put(end, 0, 4);
    put(end, entries_, 8), put(end, entries_, 8), put(end, bytes, 8), put(end, begin, 8);
    end += std::string("PK\6\7", 4);
    put(end, 0, 4), put(end, begin + bytes, 8), put(end, 1, 4);
  }
  end += std::string("PK\5\6", 4);
  put(end, 0, 4);
  for (int i = 0; i < 2; ++i) put(end, wide ? 0xFFFF : entries_, 2);
  put(end, wide ? 0xFFFFFFFF : bytes, 4), put(end, wide ? 0xFFFFFFFF : begin, 4), put(end, 0, 2);
  write(directory_);
  write(end);
  file_.commit();
}

}  // namespace relume
