// Bytes as a checkpoint, PyTorch's layouts above all: an InputError that names the file, or tensors within it; then the network
// they are taken for. The mutator changes single entries of an archive and puts it together anew with the right checksums.
#include <string>
#include <vector>

#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/zip_file.h"
#include "fuzz/exact_copy.h"
#include "fuzz/memory.h"
#include "fuzz/tensors.h"
#include "models/recognise.h"

namespace {

using relume::ZipEntry, relume::ZipFile;

void put(std::string& out, uint64_t value, int bytes) { out.append(reinterpret_cast<const char*>(&value), size_t(bytes)); }

struct Entry {
  std::string name, data;
};

std::string archive_of(const std::vector<Entry>& entries) {
  std::string out, directory;
  for (const Entry& e : entries) {
    std::string common;
    put(common, 0, 8), put(common, relume::crc32_of(e.data), 4);  // flags, method, time, date
    put(common, e.data.size(), 4), put(common, e.data.size(), 4), put(common, e.name.size(), 2), put(common, 0, 2);
    directory += std::string("PK\1\2\x14\0\x14\0", 8) + common;
    directory.append(10, '\0'), put(directory, out.size(), 4);  // comment, disk, attributes
    directory += e.name;
    out += std::string("PK\3\4\x14\0", 6) + common + e.name + e.data;
  }
  const size_t begin = out.size();
  out += directory + std::string("PK\5\6\0\0\0\0", 8);
  put(out, entries.size(), 2), put(out, entries.size(), 2), put(out, directory.size(), 4), put(out, begin, 4), put(out, 0, 2);
  return out;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<Entry> entries;
  try {
    const ZipFile file(relume::fuzz::exact_copy(data, size), "x.pth");
    for (const ZipEntry& e : file.entries()) entries.push_back({e.name, std::string(file.bytes(e))});
  } catch (const relume::InputError&) {}
  if (entries.empty()) return LLVMFuzzerMutate(data, size, max_size);
  // The first is the pickle, where nearly everything is decided.
  std::string& chosen = entries[seed % 8 < 6 ? 0 : seed / 8 % entries.size()].data;
  const size_t before = chosen.size(), room = max_size > size ? max_size - size : 0;
  chosen.resize(before + std::min<size_t>(room, 4096));
  chosen.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(chosen.data()), before, chosen.size()));
  const std::string archive = archive_of(entries);
  if (archive.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(archive.begin(), archive.end(), data);
  return archive.size();
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  relume::fuzz::use_plain_memory();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  try {
    const Checkpoint c = open_checkpoint(fuzz::exact_copy(data, size), "x.pth");
    fuzz::read_all(*c.tensors, "x.pth: ");
    const RecognisedNetwork network = recognise_network(c.tensors->tensors());
    fuzz::require(network.name != "SwinIR" || network.swinir.has_value());
  } catch (const InputError& error) {
    fuzz::require_message(error, "x.pth: ");
  }
  return 0;
}
