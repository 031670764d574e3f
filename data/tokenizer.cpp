#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/gzip.h"
#include "data/prompt_text.h"
#include "data/unicode.h"

namespace relume {
namespace {

constexpr int64_t max_compressed = int64_t(16) << 20, max_merges = int64_t(16)
                                                                   << 20;  // bytes; the file has 1.4 and 3.2 million
constexpr size_t max_prompt = 65536;                                       // bytes
constexpr int64_t bytes = 256;  // ids 0 to 255 are single bytes, the next 256 those that end a word
constexpr std::string_view word_end = "</w>";
constexpr std::string_view start_text = "<start_of_text>", end_text = "<end_of_text>";

// Bytes in the order of their ids: those that print come first.
constexpr std::array<uint8_t, 256> byte_order = [] {
  std::array<uint8_t, 256> order{};
  const auto prints = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  size_t at = 0;
  for (const bool printing : {true, false})
    for (int b = 0; b < 256; ++b)
      if (prints(b) == printing) order[at++] = static_cast<uint8_t>(b);
  return order;
}();
constexpr std::array<int64_t, 256> id_of_byte = [] {
  std::array<int64_t, 256> ids{};
  for (size_t i = 0; i < 256; ++i) ids[byte_order[i]] = int64_t(i);
  return ids;
}();

// How the merges' file writes the byte of an id: a printing one as the character of that code, the others from U+0100 on.
std::string symbol_of(int64_t id) {
  constexpr int64_t printing = 188;
  return unicode::encoded(std::u32string(1, char32_t(id < printing ? byte_order[size_t(id)] : 256 + id - printing)));
}

uint64_t pair_key(int64_t left, int64_t right) { return uint64_t(left) << 32 | uint64_t(right); }

// The ids of everything that a line of the file may name, as it grows.
class Symbols {
 public:
  Symbols() {
    ids_.reserve(size_t(2 * bytes + Tokenizer::merge_count));
    for (int64_t id = 0; id < bytes; ++id) {
      ids_[symbol_of(id)] = id;
      ids_[symbol_of(id) + std::string(word_end)] = bytes + id;
    }
  }
  int64_t find(const std::string& symbol) const {
    const auto at = ids_.find(symbol);
    return at == ids_.end() ? -1 : at->second;
  }
  bool add(const std::string& symbol) { return ids_.emplace(symbol, int64_t(ids_.size())).second; }

 private:
  std::unordered_map<std::string, int64_t> ids_;
};

// The end of the piece that begins at `at`: a special, an ending like 's, a run of letters, one number, or a run of other
// symbols.
size_t piece_end(std::u32string_view text, size_t at) {
  const std::u32string_view rest = text.substr(at);
  for (const std::u32string_view fixed :
       {std::u32string_view(U"<start_of_text>"), std::u32string_view(U"<end_of_text>"), std::u32string_view(U"'s"),
        std::u32string_view(U"'t"), std::u32string_view(U"'re"), std::u32string_view(U"'ve"), std::u32string_view(U"'m"),
        std::u32string_view(U"'ll"), std::u32string_view(U"'d")})
    if (rest.starts_with(fixed)) return at + fixed.size();
  if (unicode::is_number(text[at])) return at + 1;
  const bool letters = unicode::is_letter(text[at]);
  size_t end = at + 1;
  const auto goes_on = [letters](char32_t c) {
    return unicode::is_letter(c) == letters && !unicode::is_number(c) && !unicode::is_space(c);
  };
  while (end < text.size() && goes_on(text[end])) ++end;
  return end;
}

std::string read_merges(const std::filesystem::path& path) {
  try {
    return read_file(path, max_compressed);
  } catch (Error& error) {
    error.add_context(
        "in reading the merges of CLIP's tokenizer: give the path of bpe_simple_vocab_16e6.txt.gz, a file of the Python "
        "package "
        "open-clip-torch");
    throw;
  }
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& merges) : Tokenizer(read_merges(merges), merges.string()) {}

Tokenizer::Tokenizer(std::string_view gzip_file, const std::string& where) {
  const std::string text = gunzip(gzip_file, max_merges, where);
  Symbols symbols;
  merges_.reserve(size_t(merge_count));
  size_t at = text.find('\n');  // behind the header
  for (int64_t merge = 0; merge < merge_count; ++merge) {
    RELUME_CHECK(at != std::string::npos && at + 1 < text.size(), where, ": ends after ", merge, " merges, ", merge_count,
                 " expected; it must be bpe_simple_vocab_16e6.txt.gz of open-clip-torch");
    const size_t end = text.find('\n', at + 1);
    const std::string line = text.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    const size_t space = line.find(' ');
    const int64_t left = space == std::string::npos ? -1 : symbols.find(line.substr(0, space)),
                  right = left < 0 ? -1 : symbols.find(line.substr(space + 1));
    RELUME_CHECK(left >= 0 && right >= 0 && symbols.add(line.substr(0, space) + line.substr(space + 1)), where, ": line ",
                 merge + 2, ": '", printable(line),
                 "' does not join two known symbols to a new one; it must be bpe_simple_vocab_16e6.txt.gz of open-clip-torch");
    merges_[pair_key(left, right)] = 2 * bytes + merge;
    at = end;
  }
}

std::vector<int64_t> Tokenizer::merged(std::string_view piece) const {
  std::vector<int64_t> ids;
  for (const char byte : piece) ids.push_back(id_of_byte[static_cast<unsigned char>(byte)]);
  ids.back() += bytes;
  const auto id_of_pair = [&](size_t i) {
    const auto at = merges_.find(pair_key(ids[i], ids[i + 1]));
    return at == merges_.end() ? std::numeric_limits<int64_t>::max() : at->second;
  };
  for (;;) {
    int64_t first = std::numeric_limits<int64_t>::max();  // ids are given in the order of the merges
    for (size_t i = 0; i + 1 < ids.size(); ++i) first = std::min(first, id_of_pair(i));
    if (first == std::numeric_limits<int64_t>::max()) return ids;
    size_t to = 0;
    for (size_t from = 0; from < ids.size(); ++to) {
      const bool joins = from + 1 < ids.size() && id_of_pair(from) == first;
      ids[to] = joins ? first : ids[from];
      from += joins ? 2 : 1;
    }
    ids.resize(to);
  }
}

std::vector<int64_t> Tokenizer::ids(std::string_view text) const {
  RELUME_CHECK(text.size() <= max_prompt, "prompt: ", text.size(), " bytes, at most ", max_prompt, " expected; shorten it");
  const std::u32string cleaned = unicode::decoded(clean_prompt(text));
  std::vector<int64_t> all;
  for (size_t at = 0; at < cleaned.size();) {
    if (unicode::is_space(cleaned[at])) {
      ++at;
      continue;
    }
    const size_t end = piece_end(cleaned, at);
    const std::string piece = unicode::encoded(std::u32string_view(cleaned).substr(at, end - at));
    if (piece == start_text || piece == end_text) {
      all.push_back(piece == start_text ? start_of_text : end_of_text);
    } else {
      const std::vector<int64_t> own = merged(piece);
      all.insert(all.end(), own.begin(), own.end());
    }
    at = end;
  }
  return all;
}

Tokenizer::Prompt Tokenizer::no_prompt() {
  Prompt p{.ids = std::vector<int64_t>(size_t(context), padding), .left_out = 0, .notice = {}};
  p.ids[0] = start_of_text, p.ids[1] = end_of_text;
  return p;
}

Tokenizer::Prompt Tokenizer::prompt(std::string_view text) const {
  const std::vector<int64_t> own = ids(text);
  const size_t room = size_t(context) - 2, kept = std::min(own.size(), room);
  Prompt p = no_prompt();
  p.left_out = int64_t(own.size() - kept);
  std::copy_n(own.begin(), kept, p.ids.begin() + 1);
  p.ids[kept + 1] = end_of_text;
  if (p.left_out > 0)
    p.notice = detail::concat("the prompt '", printable(text), "' has ", own.size(), " tokens, of which the first ", room,
                              " are used; shorten it to have the rest count");
  return p;
}

}  // namespace relume
