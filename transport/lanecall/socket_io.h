// SPDX-License-Identifier: Apache-2.0
//
// A ChannelIo on a TCP or Unix stream socket, one that connects to an address
// or one that a listener has accepted.
#ifndef LANECALL_SOCKET_IO_H
#define LANECALL_SOCKET_IO_H

#include <lanecall/descriptor_io.h>
#include <lanecall/uri.h>
#include <netdb.h>

#include <memory>

namespace lanecall {

class SocketIo : public DescriptorIo {
 public:
  // For open(); uri is tcp or unix. A TCP host's addresses are tried one after
  // the other. Looking a host name up may block, as with TSocket.
  explicit SocketIo(Uri uri);

  // Takes over an accepted socket; peer is its name. Throws std::system_error.
  SocketIo(Descriptor accepted, std::string peer);

  // -EAGAIN when a Unix socket's queue of connections is full: try again.
  int open() override;
  int status() override;
  ssize_t read(void* data, std::size_t size) override;
  ssize_t write(const void* data, std::size_t size) override;
  std::string name() const override { return name_; }
  std::string reason() const override { return reason_; }

 private:
  int openUnix();
  int openTcp();
  int connectNext();
  int failLookup(int error);

  Uri uri_;
  std::string name_;
  std::string reason_;
  std::shared_ptr<addrinfo> addresses_;
  const addrinfo* next_ = nullptr;
  bool connecting_ = false;
};

}  // namespace lanecall

#endif
