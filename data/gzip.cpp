#include "data/gzip.h"

#include <zlib.h>

#include <memory>

#include "base/error.h"

namespace relume {

std::string gunzip(std::string_view file, size_t limit, const std::string& where) {
  constexpr int gzip_alone = MAX_WBITS + 16;
  constexpr size_t step = 65536;
  z_stream stream{};
  RELUME_CHECK(file.size() <= limit, where, ": ", file.size(), " bytes, at most ", limit, " expected");
  if (inflateInit2(&stream, gzip_alone) != Z_OK) throw OutOfMemory(where + ": no memory to uncompress it");
  const auto end = [](z_stream* s) { inflateEnd(s); };
  const std::unique_ptr<z_stream, decltype(end)> guard(&stream, end);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file.data()));
  stream.avail_in = static_cast<uInt>(file.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK) {
    const size_t before = out.size();
    out.resize(before + step);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(step);
    result = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    RELUME_CHECK(out.size() <= limit, where, ": holds more than ", limit, " bytes; this is another file than expected");
  }
  RELUME_CHECK(result != Z_BUF_ERROR, where, ": truncated: the compressed data end too early; fetch the file again");
  RELUME_CHECK(result == Z_STREAM_END, where, ": not a whole gzip file (", stream.msg ? stream.msg : "damaged",
               "); fetch the file again");
  RELUME_CHECK(stream.avail_in == 0, where, ": ", stream.avail_in, " bytes stand behind its end; fetch the file again");
  return out;
}

}  // namespace relume
