// A TCP connection to a loopback port that sends exactly the bytes it is told to, for tests of
// servers. Waits at most ten seconds for anything.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace llmcf::testing {

class RawSocket {
 public:
  // `receive_buffer`: bytes the kernel holds for a client that does not read; 0 = its default.
  explicit RawSocket(int port, int receive_buffer = 0) : handle_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{10, 0};
    setsockopt(handle_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (receive_buffer > 0)
      setsockopt(handle_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(handle_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("no connection");
  }
  ~RawSocket() { close(); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  void close() {
    if (handle_ >= 0) ::close(handle_);
    handle_ = -1;
  }
  void close_sending_side() { shutdown(handle_, SHUT_WR); }

  // False if the connection is gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Everything up to the end of the connection.
  std::string read_all() {
    while (more()) {
    }
    return take(pending_.size());
  }
  // Everything up to `end` (included); what there is if the connection ends before.
  std::string read_until(std::string_view end) {
    size_t found = std::string::npos;
    while ((found = pending_.find(end)) == std::string::npos && more()) {
    }
    return take(found == std::string::npos ? pending_.size() : found + end.size());
  }
  // One answer with a Content-Length.
  std::string read_answer() {
    const std::string head = read_until("\r\n\r\n");
    const size_t field = head.find("Content-Length: ");
    if (field == std::string::npos) return head;
    const size_t length = std::stoul(head.substr(field + 16));
    while (pending_.size() < length && more()) {
    }
    return head + take(length);
  }
  // Whether the server has closed the connection, within ten seconds.
  bool ended() { return read_all().empty() && last_ == 0; }

 private:
  bool more() {
    char bytes[16384];
    last_ = recv(handle_, bytes, sizeof bytes, 0);
    if (last_ <= 0) return false;
    pending_.append(bytes, static_cast<size_t>(last_));
    return true;
  }
  std::string take(size_t count) {
    std::string taken = pending_.substr(0, count);
    pending_.erase(0, count);
    return taken;
  }

  int handle_;
  ssize_t last_ = -1;
  std::string pending_;
};

}  // namespace llmcf::testing
