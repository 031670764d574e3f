// CLIP's tokenizer (Radford et al. 2021; OpenCLIP's SimpleTokenizer): byte-pair encoding of lower-cased words, as the text
// encoder of Stable Diffusion 2 was trained with (spec/diffbir.md 3.4). Its merges are a file of others, not ours to ship:
// bpe_simple_vocab_16e6.txt.gz of the Python package open-clip-torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace relume {

class Tokenizer {
 public:
  static constexpr int64_t merge_count = 48894, vocabulary = 49408, context = 77;
  static constexpr int64_t start_of_text = 49406, end_of_text = 49407, padding = 0;

  // Reads the merges. InputError naming the file, the line and where to get the file.
  explicit Tokenizer(const std::filesystem::path& merges);
  // The same of a file's bytes; `where` begins the messages.
  Tokenizer(std::string_view gzip_file, const std::string& where);

  // The ids of a text, cleaned first, without start, end and padding. InputError for what is not UTF-8 or longer than a prompt
  // can be (64 kB).
  std::vector<int64_t> ids(std::string_view text) const;

  // What the text encoder takes: the start, the ids, the end and padding. A text of more than 75 ids is cut behind the 75th.
  struct Prompt {
    std::vector<int64_t> ids;  // `context` of them
    int64_t left_out = 0;      // ids that found no room
    std::string notice;        // for the user where that is not 0: how much was cut, and what to do
  };
  Prompt prompt(std::string_view text) const;
  static Prompt no_prompt();  // of the empty text: what no merges are needed for

 private:
  std::vector<int64_t> merged(std::string_view piece) const;  // of one word, number or run of symbols
  std::unordered_map<uint64_t, int64_t> merges_;              // from two ids, side by side, to the one they become
};

}  // namespace relume
