// HDF5 files with groups, put together record by record ("HDF5 File Format Specification, version 3.0"): what data/hdf5_file.h
// reads and no more.
#pragma once

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "data/hdf5_file.h"
#include "tensor/core/tensor.h"

namespace relume::test {

class GroupedHdf5 {
 public:
  // f32 or u8; the name with its group: "weights/conv.weight".
  void add(const std::string& name, const Tensor& value) {
    const Tensor dense = value.contiguous();
    const std::string data(static_cast<const char*>(dense.raw()), size_t(dense.numel() * size_of(dense.dtype())));
    const uint64_t at = append(data);
    std::string space = number(2, 1) + number(uint64_t(dense.rank()), 1) + number(0, 1) + number(dense.rank() > 0, 1);
    for (const int64_t size : dense.shape().sizes()) space += number(uint64_t(size), 8);
    std::string type = number(0x10, 1) + number(0, 3) + number(1, 4) + number(0, 2) + number(8, 2);  // unsigned integer
    if (dense.dtype() == DType::f32)
      type = number(0x11, 1) + number(0x1F20, 3) + number(4, 4) + number(0, 2) + number(32, 2) + number(23, 1) + number(8, 1) +
             number(0, 1) + number(23, 1) + number(127, 4);
    const std::string layout = number(3, 1) + number(1, 1) + number(at, 8) + number(data.size(), 8);
    const size_t slash = name.find('/');
    groups_[slash == std::string::npos ? "" : name.substr(0, slash)].emplace_back(name.substr(slash + 1),
                                                                                  header({{1, space}, {3, type}, {8, layout}}));
  }
  void add(const std::string& name, const std::string& text) {
    add(name, Tensor::of<uint8_t>({int64_t(text.size())}, {text.begin(), text.end()}));
  }

  // A further name for a dataset, both outside of groups.
  void link(const std::string& name, const std::string& to) {
    Links& root = groups_[""];
    for (size_t i = 0; i < root.size(); ++i)
      if (root[i].first == to) return void(root.emplace_back(name, root[i].second));
  }

  void write(const std::filesystem::path& path) {
    Links root = groups_[""];
    for (const auto& [name, links] : groups_)
      if (!name.empty()) root.emplace_back(name, group(links));
    const uint64_t address = group(root);
    std::string super("\x89HDF\r\n\x1a\n\2\x08\x08\0", 12);
    super += number(0, 8) + number(UINT64_MAX, 8) + number(file_.size(), 8) + number(address, 8);
    super += number(hdf5_checksum(super), 4);
    file_.replace(0, super.size(), super);
    write_file_atomically(path, file_);
  }

 private:
  using Links = std::vector<std::pair<std::string, uint64_t>>;  // name and address of an object

  static std::string number(uint64_t value, int bytes) { return {reinterpret_cast<const char*>(&value), size_t(bytes)}; }
  uint64_t append(const std::string& bytes) {
    file_ += bytes;
    return file_.size() - bytes.size();
  }
  uint64_t header(const std::vector<std::pair<int, std::string>>& messages) {
    std::string body;
    for (const auto& [type, message] : messages)
      body += number(uint64_t(type), 1) + number(message.size(), 2) + number(0, 1) + message;
    std::string whole = std::string("OHDR\2\2") + number(body.size(), 4) + body;
    return append(whole + number(hdf5_checksum(whole), 4));
  }
  uint64_t group(const Links& links) {
    std::vector<std::pair<int, std::string>> messages{{2, number(0, 2) + number(UINT64_MAX, 8) + number(UINT64_MAX, 8)}};
    for (const auto& [name, address] : links)
      messages.emplace_back(6, number(1, 1) + number(1, 1) + number(name.size(), 2) + name + number(address, 8));
    return header(messages);
  }

  std::string file_ = std::string(48, '\0');  // the superblock's place
  std::map<std::string, Links> groups_;
};

}  // namespace relume::test
