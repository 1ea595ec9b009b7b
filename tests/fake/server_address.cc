// SPDX-License-Identifier: Apache-2.0
#include "server_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace lanecall::test {

ServerAddress::ServerAddress(const std::string& uri, int type) : type_(type) {
  const auto bad = [&] {
    return std::invalid_argument("not an address: " + uri);
  };
  if (uri.starts_with("unix:")) {
    const std::string path = uri.substr(5);
    auto* un = reinterpret_cast<sockaddr_un*>(&address_);
    if (path.empty() || path.size() >= sizeof un->sun_path) throw bad();
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
    length_ = sizeof *un;
  } else if (uri.starts_with("tcp:") && type == SOCK_STREAM) {
    const auto colon = uri.rfind(':');
    if (colon < 4) throw bad();
    auto* in = reinterpret_cast<sockaddr_in*>(&address_);
    in->sin_family = AF_INET;
    in->sin_port =
        htons(static_cast<uint16_t>(std::stoi(uri.substr(colon + 1))));
    const std::string host = uri.substr(4, colon - 4);
    if (inet_pton(AF_INET, host.c_str(), &in->sin_addr) != 1) throw bad();
    length_ = sizeof *in;
  } else {
    throw bad();
  }
}

ServerAddress::Attempt ServerAddress::connect() const {
  Descriptor fd(
      socket(address_.ss_family, type_ | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return {Descriptor(), errno};
  if (address_.ss_family == AF_INET) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const int error =
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address_),
                length_) == 0
          ? 0
          : errno;
  return {std::move(fd), error};
}

}  // namespace lanecall::test
