// Small text helpers shared by messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace relume {

// The candidate nearest to `name` by edit distance, if near enough to be a misspelling (at most a third of its length, at least
// one edit allowed); empty otherwise.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// " (did you mean 'x'?)" or the empty string, to be appended to a message.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

std::vector<std::string> split(std::string_view text, char separator);  // "a,,b" gives three parts; "" gives none
std::string join(std::span<const std::string> parts, std::string_view separator);
bool glob_match(std::string_view pattern,
                std::string_view text);    // '*' matches any run of characters, '?' one; dots are not special
std::string lower_case(std::string text);  // ASCII letters only
bool is_utf8(std::string_view text);       // well-formed as Unicode has it: no overlong forms, no surrogates
// `text` fit for a message: cut after about `longest` bytes, control characters and what is not UTF-8 written as \xNN so that
// no terminal obeys them.
std::string printable(std::string_view text, size_t longest = 80);
std::string grouped(int64_t number);        // "22,280,651"
std::string human_bytes(double bytes);      // "1.5 GB" (powers of 1000)
std::string human_seconds(double seconds);  // "47 s", "3 min 20 s", "2 h 05 min"

// A number of bytes as people write it: "6G", "1.5 GB", "512M" (powers of 1000), "6GiB" (powers of 1024), "4096"; letters in
// any case. InputError, beginning with `what`, for anything else and for less than one byte.
int64_t parse_bytes(std::string_view text, const std::string& what);

}  // namespace relume
