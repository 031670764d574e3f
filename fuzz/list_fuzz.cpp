// Lists of pictures: the first byte chooses the format, the rest is the text. Whatever the bytes, the result is a list of
// usable entries or an InputError that names the list.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "data/file_list.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    for (const ListEntry& entry : parse_file_list(text, "list", ListFormat(data[0] % 3))) {
      const std::string path = entry.path.string();
      const bool captions_fit = !entry.captions || (is_utf8(entry.captions->short_text) && is_utf8(entry.captions->long_text));
      if (path.empty() || path.find('\0') != std::string::npos || !is_utf8(path) || entry.line < 1 || !captions_fit)
        __builtin_trap();
    }
  } catch (const InputError& e) {
    if (!std::string(e.what()).starts_with("list")) __builtin_trap();
  }
  return 0;
}
