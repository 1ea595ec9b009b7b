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
#include <vector>

namespace lanecall {

// Who may connect to a Unix socket.
struct SocketAccess {
  // Of its file, whatever the process's umask; from the first moment on nobody
  // has more.
  mode_t mode = 0600;
  // Users by id; empty: whoever the mode lets. Others are sent away. Of a
  // process in another user namespace it is the id that it has here.
  std::vector<uid_t> uids = {};
};

class Listener {
 public:
  // Binds and listens. For tcp, port 0 takes a free one. For unix, a socket
  // file that nobody listens at any more is replaced; one that is in use, or a
  // file of another kind, is an error. The socket's folder is locked meanwhile,
  // so that of two servers only one replaces a stale socket. Throws
  // std::runtime_error with one line that names the address and what to do; so
  // for tcp if access names users, whom TCP does not tell. type: another type
  // of socket than a stream, for unix only.
  explicit Listener(const Uri& uri, SocketAccess access = {},
                    int type = SOCK_STREAM);

  // Removes the socket file, if it is still this listener's.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The address bound, with the real port.
  const Uri& uri() const { return uri_; }

  // Readable when accept() has something; never blocks.
  int fd() const { return socket_.get(); }

  // The next connection; null and a negated errno value in *error when there
  // is none (-EAGAIN), or it failed, or it was another user's and was closed
  // (-EACCES; whoWasDenied() says whose).
  std::unique_ptr<ChannelIo> accept(int* error);

  // The same as a bare socket, non-blocking; invalid where that is null.
  Descriptor acceptSocket(int* error);

  // Who is at the other end of an accepted socket, for logs.
  std::string peerName(int fd) const;

  // For logs: "pid:PID uid=UID".
  const std::string& whoWasDenied() const { return denied_; }

 private:
  void listenTcp();
  void listenUnix();
  int bindFile(const Descriptor& socket);
  bool is_allowed(const Descriptor& socket);

  Uri uri_;
  const SocketAccess access_;
  const int type_;
  std::string denied_;
  Descriptor socket_;
  struct stat file_ = {};
};

}  // namespace lanecall

#endif
