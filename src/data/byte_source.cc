#include "data/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

namespace llmcf::data {

namespace {

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class PlainFile final : public ByteSource {
 public:
  explicit PlainFile(const std::filesystem::path& path)
      : path_(path.string()), file_(std::fopen(path_.c_str(), "rb")) {
    if (!file_) throw Error(fmt::format("{}: cannot open: {}", path_, std::strerror(errno)));
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
  }

  size_t read(char* out, size_t size) override {
    const size_t got = std::fread(out, 1, size, file_.get());
    if (got == 0 && std::ferror(file_.get()))
      throw Error(fmt::format("{}: cannot read: {}", path_, std::strerror(errno)));
    return got;
  }

  void rewind() { std::rewind(file_.get()); }

 private:
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

// Compressed bytes, in pieces.
class Input {
 public:
  explicit Input(std::unique_ptr<PlainFile> file) : file_(std::move(file)), buffer_(1 << 18) {}

  // False at the end of the file.
  bool fill() {
    if (position_ < size_) return true;
    size_ = file_->read(buffer_.data(), buffer_.size());
    position_ = 0;
    return size_ > 0;
  }
  char* data() { return buffer_.data() + position_; }
  size_t left() const { return size_ - position_; }
  void skip(size_t count) { position_ += count; }

 private:
  std::unique_ptr<PlainFile> file_;
  std::vector<char> buffer_;
  size_t position_ = 0;
  size_t size_ = 0;
};

// One or more gzip members; zero bytes behind the last one are padding.
class GzipFile final : public ByteSource {
 public:
  explicit GzipFile(std::unique_ptr<PlainFile> file) : input_(std::move(file)) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw Error("zlib: not enough memory");
  }
  ~GzipFile() override { inflateEnd(&stream_); }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  size_t read(char* out, size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(size, 1U << 30));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (!input_.fill()) {
        if (inside_) throw DamagedData("truncated gzip data; fetch the file again");
        return 0;
      }
      if (!inside_ && !begin_member()) continue;
      inflate_some();
    }
    return wanted - stream_.avail_out;
  }

 private:
  // False for a padding byte.
  bool begin_member() {
    if (*input_.data() == '\0' && members_ > 0) {
      input_.skip(1);
      return false;
    }
    inflateReset(&stream_);
    inside_ = true;
    ++members_;
    return true;
  }

  void inflate_some() {
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(input_.left());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    input_.skip(input_.left() - stream_.avail_in);
    if (status == Z_STREAM_END) {
      inside_ = false;
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw DamagedData(fmt::format("damaged gzip data ({}); fetch the file again",
                                    stream_.msg != nullptr ? stream_.msg : "unknown cause"));
    }
  }

  Input input_;
  z_stream stream_{};
  bool inside_ = false;
  int64_t members_ = 0;
};

class ZstdFile final : public ByteSource {
 public:
  explicit ZstdFile(std::unique_ptr<PlainFile> file)
      : input_(std::move(file)), stream_(ZSTD_createDStream()) {
    if (!stream_) throw Error("zstd: not enough memory");
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 31);  // files made with --long
  }

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer output{out, size, 0};
    while (output.pos == 0) {
      // What is left inside the decoder comes first: the input may be at its end already.
      const bool more = input_.fill();
      if (!more && !inside_) return 0;
      ZSTD_inBuffer source{input_.data(), input_.left(), 0};
      const size_t status = ZSTD_decompressStream(stream_.get(), &output, &source);
      if (ZSTD_isError(status) != 0U)
        throw DamagedData(
            fmt::format("damaged zstd data ({}); fetch the file again", ZSTD_getErrorName(status)));
      input_.skip(source.pos);
      inside_ = status != 0;
      if (!more && inside_ && output.pos == 0)
        throw DamagedData("truncated zstd data; fetch the file again");
    }
    return output.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };
  Input input_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  bool inside_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    throw Error(fmt::format("{}: is a directory, expected a file", path.string()));
  auto file = std::make_unique<PlainFile>(path);
  unsigned char magic[4] = {};
  const size_t got = file->read(reinterpret_cast<char*>(magic), sizeof(magic));
  file->rewind();
  if (got >= 2 && magic[0] == 0x1f && magic[1] == 0x8b)
    return std::make_unique<GzipFile>(std::move(file));
  if (got == 4 && magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd)
    return std::make_unique<ZstdFile>(std::move(file));
  return file;
}

}  // namespace llmcf::data
