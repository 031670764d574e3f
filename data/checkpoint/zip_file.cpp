#include "data/checkpoint/zip_file.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace relume {
namespace {

static_assert(std::endian::native == std::endian::little, "ZIP records are read as they are stored, little-endian");

using namespace std::string_view_literals;

constexpr std::string_view local_mark = "PK\3\4"sv, central_mark = "PK\1\2"sv, end_mark = "PK\5\6"sv, end64_mark = "PK\6\6"sv,
                           locator_mark = "PK\6\7"sv, descriptor_mark = "PK\7\10"sv;
constexpr size_t end_bytes = 22, locator_bytes = 20, end64_bytes = 56, max_comment = 0xFFFF;
constexpr size_t max_entries = size_t(1) << 20, max_name = 1024;
constexpr uint32_t in_zip64 = 0xFFFFFFFF;  // "see the ZIP64 field"
constexpr int described_later = 8;         // flag: the sizes stand behind the data too

// Reads little-endian numbers one after another and never beyond the end.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& what) : bytes_(bytes), what_(what) {}
  template <class T> T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view take(uint64_t count) {
    RELUME_CHECK(count <= bytes_.size(), what_, " ends ", count - bytes_.size(), " bytes too early; fetch the file again");
    const std::string_view part = bytes_.substr(0, size_t(count));
    bytes_.remove_prefix(size_t(count));
    return part;
  }
  uint64_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  const std::string& what_;
};

// What a central and a local header both say.
struct Header {
  int flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t stored = 0, bytes = 0;
  std::string_view name, extra;
};

Header common_header(Cursor& in) {
  Header h;
  in.take(2);  // version needed
  h.flags = in.number<uint16_t>(), h.method = in.number<uint16_t>();
  in.take(4);  // time and date
  h.crc = in.number<uint32_t>(), h.stored = in.number<uint32_t>(), h.bytes = in.number<uint32_t>();
  return h;
}

// The ZIP64 field of `extra` replaces the numbers that say so, in this order.
void read_zip64(std::string_view extra, const std::vector<uint64_t*>& numbers, const std::string& what) {
  if (std::ranges::none_of(numbers, [](const uint64_t* n) { return *n == in_zip64; })) return;
  const std::string field = what + ": its extra field";
  for (Cursor in(extra, field); in.left() >= 4;) {
    const int id = in.number<uint16_t>();
    const std::string_view body = in.take(in.number<uint16_t>());
    if (id != 1) continue;
    Cursor values(body, field);
    for (uint64_t* n : numbers)
      if (*n == in_zip64) *n = values.number<uint64_t>();
    return;
  }
  RELUME_CHECK(false, what, ": its sizes are said to be in a ZIP64 field, which is missing");
}

// The name that an entry has, in a message "file: entry 'name'".
std::string checked_name(std::string_view name, const std::string& where) {
  RELUME_CHECK(!name.empty() && name.size() <= max_name, where, ": an entry with a name of ", name.size(), " bytes, 1 to ",
               max_name, " expected");
  const std::string text(name);
  RELUME_CHECK(is_utf8(name) && name.find_first_of("\0\\"sv) == std::string_view::npos && name.front() != '/', where,
               ": entry '", printable(name), "': not the name of a file in the archive");
  for (const std::string& part : split(text, '/'))
    RELUME_CHECK(part != "..", where, ": entry '", printable(name), "': its name leads out of the archive");
  return text;
}

class Parser {
 public:
  Parser(std::string_view file, const std::string& where) : file_(file), where_(where) {}

  std::vector<ZipEntry> parse() {
    const Directory directory = find_directory();
    const std::string what = where_ + ": the central directory";
    Cursor in(file_.substr(size_t(directory.begin), size_t(directory.bytes)), what);
    std::vector<ZipEntry> entries;
    entries.reserve(size_t(directory.entries));
    for (uint64_t i = 0; i < directory.entries; ++i) entries.push_back(central_entry(in, directory.begin));
    RELUME_CHECK(in.left() == 0, what, " has ", in.left(), " bytes behind its ", directory.entries, " entries");
    check_overlaps(entries);
    return entries;
  }

 private:
  struct Directory {
    uint64_t begin, bytes, entries;
  };

  // The end record is the last thing in the file but for a comment whose length it says.
  size_t find_end() const {
    const size_t latest = file_.size() < end_bytes ? 0 : file_.size() - end_bytes;
    for (size_t comment = 0; file_.size() >= end_bytes && comment <= std::min(latest, max_comment); ++comment) {
      const size_t at = latest - comment;
      if (file_.substr(at, 4) != end_mark) continue;
      uint16_t length = 0;
      std::memcpy(&length, file_.data() + at + 20, sizeof length);
      if (length == comment) return at;
    }
    RELUME_CHECK(file_.substr(latest).find(end_mark) == std::string_view::npos, where_,
                 ": truncated: its end-of-central-directory record is cut off; fetch the file again");
    throw InputError(where_ +
                     ": truncated: this ZIP archive has no central directory, which stands at its end; fetch the file again");
  }

  Directory find_directory() const {
    const size_t end = find_end();
    const std::string what = where_ + ": the end-of-central-directory record";
    Cursor in(file_.substr(end + 4), what);
    const int disk = in.number<uint16_t>(), first_disk = in.number<uint16_t>();
    uint64_t here = in.number<uint16_t>(), entries = in.number<uint16_t>(), bytes = in.number<uint32_t>(),
             begin = in.number<uint32_t>(), until = end;
    const std::optional<size_t> record = find_zip64_end(end);
    if (record) {
      until = *record;
      Cursor wide(file_.substr(until + 24), what);
      const uint64_t wide_here = wide.number<uint64_t>(), wide_entries = wide.number<uint64_t>(),
                     wide_bytes = wide.number<uint64_t>(), wide_begin = wide.number<uint64_t>();
      RELUME_CHECK((here == 0xFFFF || here == wide_here) && (entries == 0xFFFF || entries == wide_entries) &&
                       (bytes == in_zip64 || bytes == wide_bytes) && (begin == in_zip64 || begin == wide_begin),
                   what, " and its ZIP64 form differ");
      here = wide_here, entries = wide_entries, bytes = wide_bytes, begin = wide_begin;
    }
    RELUME_CHECK((disk == 0 || disk == 0xFFFF) && (first_disk == 0 || first_disk == 0xFFFF) && here == entries, what,
                 ": an archive of several parts is not read");
    RELUME_CHECK(entries <= max_entries, what, " names ", entries, " entries, at most ", max_entries, " are read");
    RELUME_CHECK(begin <= until && bytes == until - begin, what, ": the central directory (", bytes, " bytes from byte ", begin,
                 ") does not end where the record begins, at byte ", until);
    return {begin, bytes, entries};
  }

  // Where the ZIP64 end record begins, when the archive has one.
  std::optional<size_t> find_zip64_end(size_t end) const {
    if (end < locator_bytes || file_.substr(end - locator_bytes, 4) != locator_mark) return {};
    const std::string what = where_ + ": the ZIP64 end-of-central-directory record";
    Cursor locator(file_.substr(end - locator_bytes + 4), what);
    locator.take(4);
    const uint64_t at = locator.number<uint64_t>();
    RELUME_CHECK(locator.number<uint32_t>() <= 1, what, ": an archive of several parts is not read");
    RELUME_CHECK(
        end >= locator_bytes + end64_bytes && at <= end - locator_bytes - end64_bytes && file_.substr(at, 4) == end64_mark,
        what, " is not at byte ", at, ", where its locator says");
    Cursor in(file_.substr(at + 4), what);
    RELUME_CHECK(in.number<uint64_t>() == end - locator_bytes - at - 12, what, " does not reach its locator");
    in.take(4);  // versions
    RELUME_CHECK(in.number<uint32_t>() == 0 && in.number<uint32_t>() == 0, what, ": an archive of several parts is not read");
    return size_t(at);
  }

  ZipEntry central_entry(Cursor& in, uint64_t directory) {
    RELUME_CHECK(in.take(4) == central_mark, where_, ": an entry of the central directory does not begin with its mark");
    in.take(2);  // version made by
    Header h = common_header(in);
    const size_t name = in.number<uint16_t>(), extra = in.number<uint16_t>(), comment = in.number<uint16_t>();
    const int disk = in.number<uint16_t>();
    in.take(6);  // attributes
    uint64_t local = in.number<uint32_t>();
    h.name = in.take(name), h.extra = in.take(extra);
    in.take(comment);

    ZipEntry entry{.name = checked_name(h.name, where_), .crc = h.crc};
    const std::string what = where_ + ": entry '" + printable(entry.name) + "'";
    read_zip64(h.extra, {&h.bytes, &h.stored, &local}, what);
    RELUME_CHECK((h.flags & (1 | 64 | 8192)) == 0, what, " is encrypted, which is not read");
    RELUME_CHECK(h.method == 0, what, " is compressed (method ", h.method,
                 "), which is not read: PyTorch stores entries as they are");
    RELUME_CHECK(h.stored == h.bytes, what, ": stored in ", h.stored, " bytes, but said to be ", h.bytes, " long");
    RELUME_CHECK(disk == 0 || disk == 0xFFFF, what, " lies in another part of the archive");
    entry.bytes = h.bytes;
    entry.offset = data_offset(h, local, directory, what);
    return entry;
  }

  // Where the data begins, behind a local header that must say what the central directory says.
  uint64_t data_offset(const Header& central, uint64_t at, uint64_t directory, const std::string& what) {
    RELUME_CHECK(at <= directory, what, ": its local header is said to be at byte ", at, ", behind the central directory");
    const std::string said = what + ": its local header";
    Cursor in(file_.substr(size_t(at), size_t(directory - at)), said);
    RELUME_CHECK(in.take(4) == local_mark, what, ": no local header at byte ", at, ", where the central directory says");
    Header local = common_header(in);
    const size_t name = in.number<uint16_t>(), extra = in.number<uint16_t>();
    local.name = in.take(name), local.extra = in.take(extra);
    read_zip64(local.extra, {&local.bytes, &local.stored}, what);
    const bool later = central.flags & described_later;
    const auto same = [&](uint64_t here, uint64_t there) { return here == there || (later && here == 0); };
    RELUME_CHECK(local.name == central.name && local.flags == central.flags && local.method == central.method, what,
                 ": its local header differs from the central directory (name, flags or method)");
    RELUME_CHECK(same(local.crc, central.crc) && same(local.stored, central.stored) && same(local.bytes, central.bytes), what,
                 ": its local header differs from the central directory (CRC or size)");
    const uint64_t begin = directory - in.left();
    const std::string_view data = in.take(central.bytes);
    if (later) check_descriptor(central, file_.substr(size_t(begin + data.size()), size_t(in.left())), what);
    extents_.push_back({at, begin + data.size()});
    return begin;
  }

  // CRC and sizes once more behind the data, the sizes in 4 or 8 bytes each.
  void check_descriptor(const Header& central, std::string_view after, const std::string& what) const {
    const auto matches = [&]<class Size>(Size) {
      if (after.size() < 8 + 2 * sizeof(Size) || !after.starts_with(descriptor_mark)) return false;
      Cursor in(after.substr(4), what);
      return in.number<uint32_t>() == central.crc && in.number<Size>() == Size(central.bytes) &&
             in.number<Size>() == Size(central.bytes);
    };
    RELUME_CHECK(matches(uint32_t{}) || matches(uint64_t{}), what,
                 ": the descriptor behind its data differs from the central directory");
  }

  void check_overlaps(const std::vector<ZipEntry>& entries) const {
    std::vector<size_t> sorted(entries.size());
    std::iota(sorted.begin(), sorted.end(), size_t{0});
    std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) { return extents_[a] < extents_[b]; });
    for (size_t i = 1; i < sorted.size(); ++i)
      RELUME_CHECK(extents_[sorted[i - 1]].second <= extents_[sorted[i]].first, where_, ": entry '",
                   printable(entries[sorted[i]].name), "' overlaps entry '", printable(entries[sorted[i - 1]].name), "'");
  }

  std::string_view file_;
  const std::string& where_;
  std::vector<std::pair<uint64_t, uint64_t>> extents_;  // of the entries: local header to the end of the data
};

}  // namespace

ZipFile::ZipFile(MappedFile file, std::string where) : file_(std::move(file)), where_(std::move(where)) {
  entries_ = Parser(file_.bytes, where_).parse();
  for (const ZipEntry& e : entries_)
    RELUME_CHECK(index_.emplace(e.name, index_.size()).second, where_, ": two entries are named '", printable(e.name), "'");
  verified_.reset(new std::atomic<bool>[entries_.size()] {});
}

const ZipEntry* ZipFile::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &entries_[at->second];
}

std::string_view ZipFile::bytes(const ZipEntry& entry) const {
  const std::string_view data = file_.bytes.substr(size_t(entry.offset), size_t(entry.bytes));
  std::atomic<bool>& verified = verified_[size_t(&entry - entries_.data())];
  if (verified.load(std::memory_order_relaxed)) return data;
  RELUME_CHECK(crc32_of(data) == entry.crc, where_, ": entry '", printable(entry.name),
               "': its CRC-32 does not match; the file is damaged, fetch it again");
  verified.store(true, std::memory_order_relaxed);
  return data;
}

uint32_t crc32_of(std::string_view bytes) {
  return uint32_t(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace relume
