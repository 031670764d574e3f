// Pickles put together opcode by opcode, and archives and files of PyTorch's layouts around them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "data/checkpoint/zip_writer.h"

namespace relume::test::pickles {

// The parts one after another. (Joined by +, g++ 12 warns of impossible lengths: GCC bug 105651.)
inline std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) out.append(part);
  return out;
}
inline std::string raw(uint64_t value, int bytes) { return {reinterpret_cast<const char*>(&value), size_t(bytes)}; }
inline std::string text(const std::string& s) { return joined({"X", raw(s.size(), 4), s}); }
inline std::string integer(int64_t x) { return joined({"\x8a\x08", raw(uint64_t(x), 8)}); }
inline std::string global(const std::string& module, const std::string& name) {
  return joined({"c", module, "\n", name, "\n"});
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string integers(const std::vector<int64_t>& numbers) {
  std::vector<std::string> items;
  for (const int64_t n : numbers) items.push_back(integer(n));
  return tuple(items);
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += joined({text(key), value});
  return out + "u";
}
inline std::string call(const std::string& callable, const std::vector<std::string>& arguments) {
  return joined({callable, tuple(arguments), "R"});
}
inline std::string ordered_dict() { return joined({global("collections", "OrderedDict"), ")R"}); }
inline std::string storage(const std::string& type, const std::string& key, int64_t numel) {
  return joined({tuple({text("storage"), global("torch", type), text(key), text("cpu"), integer(numel)}), "Q"});
}
inline std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& sizes,
                          const std::vector<int64_t>& strides) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {storage, integer(offset), integers(sizes), integers(strides), "\x89", ordered_dict()});
}
// A whole pickle of protocol 2.
inline std::string whole(const std::string& value) { return joined({"\x80\x02", value, "."}); }

using Entries = std::vector<std::pair<std::string, std::string>>;

// A file in PyTorch's ZIP layout: `pickle` as data.pkl, and data/<key> for each storage.
inline std::filesystem::path write_archive(const std::filesystem::path& path, const std::string& pickle,
                                           const Entries& storages) {
  ZipWriter file(path);
  file.add("archive/data.pkl", pickle);
  for (const auto& [key, bytes] : storages) file.add("archive/data/" + key, bytes);
  file.add("archive/version", "3\n");
  file.commit();
  return path;
}

inline const std::string legacy_magic = whole(std::string("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"));

// The same in the layout before 1.6.
inline std::filesystem::path write_legacy(const std::filesystem::path& path, const std::string& pickle, const Entries& storages,
                                          int64_t element_bytes) {
  std::string out = legacy_magic + whole("M\xe9\x03") + whole(dict({{"little_endian", "\x88"}})) + pickle, keys = "](";
  for (const auto& [key, bytes] : storages) keys += text(key);
  out += whole(keys + "e");
  for (const auto& [key, bytes] : storages) out += raw(bytes.size() / uint64_t(element_bytes), 8) + bytes;
  write_file_atomically(path, out);
  return path;
}

}  // namespace relume::test::pickles
