#include "data/hdf5_file.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace relume {
namespace {

static_assert(std::endian::native == std::endian::little, "HDF5 data is read as it is stored, little-endian");

using namespace std::string_view_literals;

constexpr std::string_view signature = "\x89HDF\r\n\x1a\n"sv;
constexpr uint64_t undefined_address = ~uint64_t(0);
constexpr size_t max_depth = 32, max_name = 1024, max_objects = size_t(1) << 20, max_rank = 32;

// Message types of an object header (format specification IV.A.2).
enum MessageType : int {
  dataspace_message = 0x01,
  link_info_message = 0x02,
  datatype_message = 0x03,
  link_message = 0x06,
  external_files_message = 0x07,
  layout_message = 0x08,
  filters_message = 0x0B,
  continuation_message = 0x10,
  symbol_table_message = 0x11,
};

// Reads little-endian numbers one after another and never beyond the end.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  uint64_t number(size_t width) {
    const std::string_view from = take(width);
    uint64_t value = 0;
    std::memcpy(&value, from.data(), width);
    return value;
  }
  int byte() { return int(number(1)); }
  std::string_view take(uint64_t count) {
    RELUME_CHECK(count <= left(), what_, ": ends ", count - left(), " bytes too early; the file is damaged, copy it again");
    const std::string_view part = bytes_.substr(at_, size_t(count));
    at_ += size_t(count);
    return part;
  }
  uint64_t left() const { return bytes_.size() - at_; }

 private:
  std::string_view bytes_;
  const std::string& what_;
  size_t at_ = 0;
};

struct Message {
  int type = 0;
  std::string_view body;
};

Hdf5Type parse_type(std::string_view body, const std::string& what) {
  Cursor in(body, what);
  const int head = in.byte(), version = head >> 4, kind = head & 15;
  const uint64_t bits = in.number(3), size = in.number(4);
  RELUME_CHECK(version >= 1 && version <= 4, what, ": datatype message version ", version, ", expected 1 to 4");
  RELUME_CHECK(kind <= 1, what, ": elements of HDF5 class ", kind, "; only integers and floats are read");
  RELUME_CHECK((bits & 1) == 0 && (kind == 0 || (bits & 0x40) == 0), what, ": elements are not little-endian");
  RELUME_CHECK(size == 1 || size == 2 || size == 4 || size == 8, what, ": elements of ", size, " bytes; 1, 2, 4 or 8 are read");
  const uint64_t bit_offset = in.number(2), precision = in.number(2);
  RELUME_CHECK(bit_offset == 0 && precision == size * 8, what, ": elements use ", precision, " bits from bit ", bit_offset,
               " of ", size * 8, "; only whole elements are read");
  if (kind == 0) return {(bits & 8) ? Hdf5Kind::signed_integer : Hdf5Kind::unsigned_integer, int(size)};
  const int exponent_at = in.byte(), exponent = in.byte(), mantissa_at = in.byte(), mantissa = in.byte();
  const uint64_t bias = in.number(4);
  const bool known =
      (size == 2 && (exponent == 5 || exponent == 8)) || (size == 4 && exponent == 8) || (size == 8 && exponent == 11);
  RELUME_CHECK(known && mantissa_at == 0 && mantissa == int(size) * 8 - 1 - exponent && exponent_at == mantissa &&
                   bias == (uint64_t(1) << (exponent - 1)) - 1 && ((bits >> 8) & 0xFF) == size * 8 - 1,
               what, ": floats of a layout that is none of f16, bf16, f32, f64");
  return {Hdf5Kind::floating, int(size), exponent};
}

std::vector<int64_t> parse_shape(std::string_view body, const std::string& what) {
  Cursor in(body, what);
  const int version = in.byte();
  const size_t rank = size_t(in.byte());
  const int flags = in.byte(), kind = in.byte();
  RELUME_CHECK(version == 2, what, ": dataspace message version ", version, ", expected 2");
  RELUME_CHECK(kind <= 1 && (kind == 1 || rank == 0) && (flags & ~1) == 0, what, ": dataspace of kind ", kind, " with flags ",
               flags, "; scalars and plain arrays are read");
  RELUME_CHECK(rank <= max_rank, what, ": ", rank, " dimensions, at most ", max_rank, " allowed");
  std::vector<int64_t> shape;
  for (size_t i = 0; i < rank; ++i) {
    const uint64_t length = in.number(8);
    RELUME_CHECK(length <= uint64_t(INT64_MAX), what, ": dimension ", i, " is ", length, " long");
    shape.push_back(int64_t(length));
  }
  return shape;
}

// Walks the objects of a file from the root group.
class Parser {
 public:
  Parser(std::string_view file, const std::string& where, bool verify) : file_(file), where_(where), verify_(verify) {}

  std::vector<Hdf5Dataset> parse() {
    struct Pending {
      std::string name;
      uint64_t address;
      size_t depth;
    };
    std::vector<Pending> stack{{"", root_address(), 0}};
    size_t objects = 0;
    while (!stack.empty()) {
      const Pending object = std::move(stack.back());
      stack.pop_back();
      RELUME_CHECK(++objects <= max_objects, where_, ": more than ", max_objects, " objects");
      const std::string what = where_ + (object.name.empty() ? ": root group" : ": '" + printable(object.name) + "'");
      const std::vector<Message> messages = object_header(object.address, what);
      if (find(messages, layout_message, what)) {
        RELUME_CHECK(!object.name.empty(), what, ": is a dataset, not a group");
        datasets_.push_back(dataset(object.name, messages, what));
        continue;
      }
      check_group(messages, what);
      std::vector<Pending> children;
      for (const Message& message : messages) {
        if (message.type != link_message) continue;
        const auto [name, address] = link(message.body, what);
        children.push_back({object.name.empty() ? name : object.name + "/" + name, address, object.depth + 1});
        RELUME_CHECK(children.back().name.size() <= max_name, what, ": a name of more than ", max_name, " bytes");
        RELUME_CHECK(children.back().depth <= max_depth, what, ": groups nested more than ", max_depth,
                     " deep; they may form a circle");
      }
      stack.insert(stack.end(), std::make_move_iterator(children.rbegin()), std::make_move_iterator(children.rend()));
    }
    return std::move(datasets_);
  }

 private:
  uint64_t root_address() {
    RELUME_CHECK(file_.starts_with(signature), where_, ": not an HDF5 file (its first bytes are not the signature)");
    const std::string what = where_ + ": superblock";
    Cursor in(file_.substr(signature.size()), what);
    const int version = in.byte();
    RELUME_CHECK(version == 2 || version == 3, what, ": version ", version,
                 ", only 2 and 3 are read; write the file with libver 'latest'");
    const int offset_bytes = in.byte(), length_bytes = in.byte();
    RELUME_CHECK(offset_bytes == 8 && length_bytes == 8, what, ": offsets of ", offset_bytes, " and lengths of ", length_bytes,
                 " bytes, only 8 are read");
    in.byte();  // consistency flags: set while a writer is at work or when it died; sizes and checksums tell the damage
    const uint64_t base = in.number(8);
    in.number(8);  // the extension holds nothing that a reader needs
    const uint64_t end = in.number(8), root = in.number(8);
    check_sum(file_.substr(0, 44), in.number(4), what);
    RELUME_CHECK(base == 0, what, ": the file's base address is ", base, ", only 0 is read");
    RELUME_CHECK(end <= file_.size(), where_, ": truncated: ", file_.size(), " of ", end, " bytes; copy or pack it again");
    return root;
  }

  std::string_view range(uint64_t address, uint64_t length, const std::string& what) const {
    RELUME_CHECK(address <= file_.size() && length <= file_.size() - address, what, ": bytes ", address, " to ", address, " + ",
                 length, " lie outside of the file's ", file_.size());
    return file_.substr(size_t(address), size_t(length));
  }

  void check_sum(std::string_view bytes, uint64_t stored, const std::string& what) const {
    if (verify_)
      RELUME_CHECK(hdf5_checksum(bytes) == stored, what, ": checksum does not match; the file is damaged, copy it again");
  }

  // The messages of an object header (IV.A.1.b) and of its continuation blocks.
  std::vector<Message> object_header(uint64_t address, const std::string& what) {
    std::vector<Message> messages;
    Cursor in(range(address, file_.size() - std::min<uint64_t>(address, file_.size()), what), what);
    const std::string_view mark = in.take(4);
    RELUME_CHECK(mark == "OHDR", what, ": no version 2 object header at byte ", address,
                 "; write the file with libver 'latest'");
    const int version = in.byte(), flags = in.byte();
    RELUME_CHECK(version == 2, what, ": object header version ", version, ", expected 2");
    in.take(((flags & 0x20) ? 16 : 0) + ((flags & 0x10) ? 4 : 0));  // times, attribute limits
    const size_t width = size_t(1) << (flags & 3);
    const uint64_t length = in.number(width);
    const uint64_t before = 6 + ((flags & 0x20) ? 16 : 0) + ((flags & 0x10) ? 4 : 0) + width;
    block(address, before, length, flags, messages, what);
    // Continuations append to the list that is walked; block() bounds their total.
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].type != continuation_message) continue;
      Cursor body(messages[i].body, what);
      const uint64_t at = body.number(8), size = body.number(8);
      RELUME_CHECK(size >= 8, what, ": continuation block of ", size, " bytes");
      RELUME_CHECK(range(at, size, what).starts_with("OCHK"), what, ": no continuation block at byte ", at);
      block(at, 4, size - 8, flags, messages, what);
    }
    return messages;
  }

  // One block: `before` bytes, `length` bytes of messages, a checksum.
  void block(uint64_t address, uint64_t before, uint64_t length, int flags, std::vector<Message>& messages,
             const std::string& what) {
    RELUME_CHECK(length <= file_.size(), what, ": object header of ", length, " bytes in a file of ", file_.size());
    const std::string_view whole = range(address, before + length + 4, what);
    // Blocks of a proper file do not overlap; so the work that a hostile one can ask for is bounded by its size.
    RELUME_CHECK(whole.size() <= file_.size() - header_bytes_, what, ": object headers overlap; they may form a circle");
    header_bytes_ += whole.size();
    uint64_t stored = 0;
    std::memcpy(&stored, whole.data() + before + length, 4);
    check_sum(whole.substr(0, size_t(before + length)), stored, what);
    Cursor in(whole.substr(size_t(before), size_t(length)), what);
    const uint64_t head = (flags & 4) ? 6 : 4;
    while (in.left() >= head) {  // what is left behind the last message is a gap
      const int type = in.byte();
      const uint64_t size = in.number(2);
      const int message_flags = in.byte();
      if (flags & 4) in.number(2);
      RELUME_CHECK(type == 0 || (message_flags & 2) == 0, what, ": shares a header message with others, which is not read");
      messages.push_back({type, in.take(size)});
    }
  }

  static const Message* find(const std::vector<Message>& messages, int type, const std::string& what) {
    const Message* found = nullptr;
    for (const Message& message : messages) {
      if (message.type != type) continue;
      RELUME_CHECK(!found, what, ": two header messages of type ", type);
      found = &message;
    }
    return found;
  }

  static void check_group(const std::vector<Message>& messages, const std::string& what) {
    RELUME_CHECK(!find(messages, symbol_table_message, what), what,
                 ": an old-style group; write the file with libver 'latest'");
    const Message* info = find(messages, link_info_message, what);
    RELUME_CHECK(info, what, ": neither a dataset nor a group");
    Cursor in(info->body, what);
    in.byte();  // version
    if (in.byte() & 1) in.number(8);
    RELUME_CHECK(in.number(8) == undefined_address, what, ": its links are stored densely; only compact links are read");
  }

  static std::pair<std::string, uint64_t> link(std::string_view body, const std::string& what) {
    Cursor in(body, what);
    const int version = in.byte(), flags = in.byte();
    RELUME_CHECK(version == 1, what, ": link message version ", version, ", expected 1");
    const int type = (flags & 8) ? in.byte() : 0;
    if (flags & 4) in.number(8);
    if (flags & 16) in.byte();
    const std::string name(in.take(in.number(size_t(1) << (flags & 3))));
    RELUME_CHECK(!name.empty() && name.find_first_of("/\0"sv) == std::string::npos, what, ": a link with no proper name");
    RELUME_CHECK(type == 0, what, ": '", printable(name), "' is a soft or external link; only hard links are read");
    return {name, in.number(8)};
  }

  Hdf5Dataset dataset(const std::string& name, const std::vector<Message>& messages, const std::string& what) const {
    RELUME_CHECK(!find(messages, filters_message, what) && !find(messages, external_files_message, what), what,
                 ": compressed or kept in other files; only plain datasets are read");
    const Message *space = find(messages, dataspace_message, what), *type = find(messages, datatype_message, what);
    RELUME_CHECK(space && type, what, ": a dataset without ", space ? "datatype" : "dataspace");
    Hdf5Dataset d{.name = name, .type = parse_type(type->body, what), .shape = parse_shape(space->body, what)};
    uint64_t bytes = uint64_t(d.type.bytes);
    for (const int64_t length : d.shape)
      RELUME_CHECK(!__builtin_mul_overflow(bytes, uint64_t(length), &bytes), what, ": its shape overflows");
    Cursor in(find(messages, layout_message, what)->body, what);
    const int version = in.byte(), layout = in.byte();
    RELUME_CHECK((version == 3 || version == 4) && layout == 1, what, ": data layout version ", version, ", class ", layout,
                 "; only contiguous data is read (versions 3 and 4, class 1)");
    d.offset = in.number(8), d.bytes = in.number(8);
    RELUME_CHECK(d.bytes == bytes, what, ": ", d.bytes, " bytes of data, its shape asks for ", bytes);
    if (bytes == 0) d.offset = 0;  // nothing was allocated
    RELUME_CHECK(d.offset != undefined_address, what, ": its data was never written");
    range(d.offset, d.bytes, what);
    return d;
  }

  std::string_view file_;
  const std::string& where_;
  bool verify_;
  uint64_t header_bytes_ = 0;
  std::vector<Hdf5Dataset> datasets_;
};

}  // namespace

std::string to_string(const Hdf5Type& type) {
  if (type.kind == Hdf5Kind::floating)
    return (type.bytes == 2 && type.exponent_bits == 8 ? "bf" : "f") + std::to_string(type.bytes * 8);
  return (type.kind == Hdf5Kind::unsigned_integer ? "u" : "i") + std::to_string(type.bytes * 8);
}

Hdf5File::Hdf5File(MappedFile file, std::string where, Checksums checksums) : file_(std::move(file)), where_(std::move(where)) {
  datasets_ = Parser(file_.bytes, where_, checksums == Checksums::verify).parse();
  for (const Hdf5Dataset& d : datasets_)
    RELUME_CHECK(index_.emplace(d.name, index_.size()).second, where_, ": two datasets are named '", printable(d.name), "'");
}

const Hdf5Dataset* Hdf5File::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &datasets_[at->second];
}

uint32_t hdf5_checksum(std::string_view bytes) {
  uint32_t a = 0xdeadbeef + uint32_t(bytes.size()), b = a, c = a;
  const auto rot = [](uint32_t x, int k) { return std::rotl(x, k); };
  const auto add = [&](std::string_view part) {
    uint32_t words[3] = {0, 0, 0};
    std::memcpy(words, part.data(), part.size());
    a += words[0], b += words[1], c += words[2];
  };
  while (bytes.size() > 12) {
    add(bytes.substr(0, 12));
    a -= c, a ^= rot(c, 4), c += b;
    b -= a, b ^= rot(a, 6), a += c;
    c -= b, c ^= rot(b, 8), b += a;
    a -= c, a ^= rot(c, 16), c += b;
    b -= a, b ^= rot(a, 19), a += c;
    c -= b, c ^= rot(b, 4), b += a;
    bytes.remove_prefix(12);
  }
  if (bytes.empty()) return c;
  add(bytes);
  c ^= b, c -= rot(b, 14);
  a ^= c, a -= rot(c, 11);
  b ^= a, b -= rot(a, 25);
  c ^= b, c -= rot(b, 16);
  a ^= c, a -= rot(c, 4);
  b ^= a, b -= rot(a, 14);
  c ^= b, c -= rot(b, 24);
  return c;
}

}  // namespace relume
