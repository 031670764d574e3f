// A file of merges for the tokenizer, made where it is needed: the published one does not come with the project.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/unicode.h"

namespace relume::test {

inline std::string gzipped(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = uInt(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// A file of merges with three that are of use; the others join bytes that are not ASCII, and not C4.
inline std::string small_merges() {
  std::vector<std::string> symbols;
  for (char32_t c = 0xA1; c <= 0x143; ++c)
    if (c != 0xAD && c != 0xC4) symbols.push_back(unicode::encoded(std::u32string(1, c)));
  std::string text = "#version: 0.2\nl o\nlo w</w>\ne r</w>\n";
  int64_t count = 3;
  for (const char* const end : {"", "</w>"})
    for (const std::string& a : symbols)
      for (const std::string& b : symbols)
        if (count < Tokenizer::merge_count) text += a + " " + b + end + "\n", ++count;
  return text;
}

}  // namespace relume::test
