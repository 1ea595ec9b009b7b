// SPDX-License-Identifier: Apache-2.0
#include <lanecall/uri.h>
#include <sys/un.h>

#include <charconv>
#include <stdexcept>

namespace lanecall {
namespace {

[[noreturn]] void reject(const std::string& text, const std::string& why) {
  throw std::invalid_argument("'" + text + "': " + why);
}

bool is_socket_path(const std::string& path) {
  return !path.empty() && path.size() < sizeof(sockaddr_un{}.sun_path) &&
         path.find('\0') == std::string::npos;
}

Uri parseTcp(const std::string& text, const std::string& rest) {
  Uri uri{Uri::Scheme::kTcp, {}, 0, {}};
  std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) reject(text, "use tcp:host:port");
  uri.host = rest.substr(0, colon);
  if (uri.host.size() > 2 && uri.host.front() == '[' && uri.host.back() == ']')
    uri.host = uri.host.substr(1, uri.host.size() - 2);
  else if (uri.host.find(':') != std::string::npos)
    reject(text, "put an IPv6 address in brackets: tcp:[address]:port");
  if (uri.host.empty()) reject(text, "the host is missing; use tcp:host:port");
  const char* first = rest.c_str() + colon + 1;
  const char* last = rest.c_str() + rest.size();
  auto [end, error] = std::from_chars(first, last, uri.port);
  if (error != std::errc() || end != last || first == last)
    reject(text, "the port must be a number from 0 to 65535");
  return uri;
}

Uri parse(const std::string& text, const std::string& forms) {
  std::size_t colon = text.find(':');
  std::string scheme = text.substr(0, colon);
  std::string rest =
      colon == std::string::npos ? std::string() : text.substr(colon + 1);
  if (colon != std::string::npos && scheme == "tcp")
    return parseTcp(text, rest);
  if (colon != std::string::npos && scheme == "unix") {
    if (!is_socket_path(rest))
      reject(text, "a socket path has 1 to " +
                       std::to_string(sizeof(sockaddr_un{}.sun_path) - 1) +
                       " bytes; use unix:/path");
    return {Uri::Scheme::kUnix, {}, 0, rest};
  }
  if (colon != std::string::npos && scheme == "pcie") {
    if (rest.empty()) reject(text, "use pcie:/dev/lanecall0");
    return {Uri::Scheme::kPcie, {}, 0, rest};
  }
  reject(text, "unknown scheme; use " + forms);
}

}  // namespace

std::string Uri::str() const {
  switch (scheme) {
    case Scheme::kTcp: {
      bool v6 = host.find(':') != std::string::npos;
      return "tcp:" + (v6 ? "[" + host + "]" : host) + ":" +
             std::to_string(port);
    }
    case Scheme::kUnix:
      return "unix:" + path;
    default:
      return "pcie:" + path;
  }
}

Uri parseUri(const std::string& text) {
  return parse(text, "tcp:host:port, unix:/path or pcie:/dev/lanecall0");
}

Uri parseListenUri(const std::string& text) {
  return parse(text, "tcp:host:port or unix:/path");
}

}  // namespace lanecall
