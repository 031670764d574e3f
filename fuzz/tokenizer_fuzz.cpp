// Prompts and merges: the first byte chooses, the rest is a text or the compressed file. Whatever the bytes, a cleaned text is
// UTF-8 without a space too many, and what is refused is an InputError that says what was read.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "data/prompt_text.h"
#include "data/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool is_prompt = data[0] % 2 == 0;
  try {
    if (is_prompt) {
      const std::string text = clean_prompt(bytes);
      if (!is_utf8(text) || text.starts_with(' ') || text.ends_with(' ') || text.find("  ") != std::string::npos)
        __builtin_trap();
    } else {
      const Tokenizer tokenizer(bytes, "merges");
      if (tokenizer.prompt("a photo").ids.size() != size_t(Tokenizer::context)) __builtin_trap();
    }
  } catch (const InputError& e) {
    if (!std::string(e.what()).starts_with(is_prompt ? "prompt" : "merges")) __builtin_trap();
  }
  return 0;
}
