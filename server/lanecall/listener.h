// SPDX-License-Identifier: Apache-2.0
//
// A listening TCP or Unix socket, and the connections it accepts as channels.
#ifndef LANECALL_LISTENER_H
#define LANECALL_LISTENER_H

#include <lanecall/channel_io.h>
#include <lanecall/descriptor.h>
#include <lanecall/uri.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <memory>
#include <string>

namespace lanecall {

class Listener {
 public:
  // Binds and listens. For tcp, port 0 takes a free one. For unix, a socket
  // file that nobody listens at any more is replaced; one that is in use, or a
  // file of another kind, is an error. The socket's folder is locked meanwhile,
  // so that of two servers only one replaces a stale socket. Throws
  // std::runtime_error with one line that names the address and what to do.
  explicit Listener(const Uri& uri) : Listener(uri, SOCK_STREAM) {}
  // type: another type of socket than a stream, for unix only.
  Listener(const Uri& uri, int type);

  // Removes the socket file, if it is still this listener's.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The address bound, with the real port.
  const Uri& uri() const { return uri_; }

  // Readable when accept() has something; never blocks.
  int fd() const { return socket_.get(); }

  // The next connection; null and a negated errno value in *error when there
  // is none (-EAGAIN) or it failed.
  std::unique_ptr<ChannelIo> accept(int* error);

  // The same as a bare socket, non-blocking; invalid where that is null.
  Descriptor acceptSocket(int* error);

  // Who is at the other end of an accepted socket, for logs.
  std::string peerName(int fd) const;

 private:
  void listenTcp();
  void listenUnix();

  Uri uri_;
  const int type_;
  Descriptor socket_;
  struct stat file_ = {};
};

}  // namespace lanecall

#endif
