// SPDX-License-Identifier: Apache-2.0
#include <lanecall/errors.h>

#include <cerrno>
#include <system_error>

namespace lanecall {
namespace {

const char* deviceRemedy(int error) {
  switch (error) {
    case ENOENT:
      return "load the module (modprobe lanecall) on a machine whose edu "
             "device has an RPC engine (QEMU: -device edu,rpc=... or "
             "card=...); if it is loaded, there are fewer devices: "
             "ls /dev/lanecall*";
    case EACCES:
    case EPERM:
      return "get read and write access to the node, by its group or as root; "
             "who has it is refused by the server's rules (--allow, --deny)";
    case ENOTTY:
    case EISDIR:
      return "this is no Lanecall device; give a /dev/lanecallN node";
    case EPROTONOSUPPORT:
      return "library and kernel module are of different versions; build both "
             "from one";
    case EBUSY:
      return "all its channels are in use; close one, or give the device more "
             "(channels=)";
    case EDQUOT:
      return "this user has its share of the device's channels; close one, or "
             "raise the module's parameter channels_share";
    case EOPNOTSUPP:
      return "this machine and device share no memory that programs may map "
             "(use --mode auto or rw), or the device does not moderate "
             "interrupts";
    case EINVAL:
      return "the driver refused; ring sizes must be powers of two that "
             "LANECALL_IOC_INFO allows";
    case ECONNREFUSED:
      return "nobody answers where the device connects to; start "
             "lanecall-server at the address given to rpc= or card= "
             "(guest/run: --rpc, --card), where QEMU's user may connect "
             "(--socket-mode, --allow-uid)";
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return "check the address given to the device's rpc= or card= "
             "(guest/run: --rpc, --card), and its server";
    case EIO:
    case ENODEV:
    case ENXIO:
      return "the device was reset or removed; open it again";
    case ECONNRESET:
    case EPIPE:
      return "the server ended the connection (it stopped, or does not let you "
             "in, or a limit such as --max-message, or another --protocol or "
             "--framing); see its log";
    default:
      return nullptr;
  }
}

const char* socketRemedy(int error) {
  switch (error) {
    case ENOENT:
    case ECONNREFUSED:
      return "start lanecall-server there, or correct the address";
    case ENOTSOCK:
      return "what is there is no socket; correct the path";
    case EACCES:
    case EPERM:
      return "get read and write access to the socket, by its group or as root";
    case EADDRNOTAVAIL:
      return "correct the host name, or how this machine looks it up";
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return "check the address and the network";
    case ECONNRESET:
    case EPIPE:
      return "the server ended the connection (it stopped, or does not let you "
             "in, or a limit such as --max-message, or another --protocol or "
             "--framing); see its log";
    default:
      return nullptr;
  }
}

const char* clientRemedy(int error, const std::string& action) {
  switch (error) {
    case ECONNRESET:
    case EPIPE:
      return "the client ended the connection";
    case ETIMEDOUT:
      return action == "write"
                 ? "it did not take an answer within --send-timeout"
                 : "it did not send a whole message within --message-timeout";
    default:
      return nullptr;
  }
}

const char* remedyFor(int error, const std::string& action, Peer peer) {
  if (error == EPROTO)
    return "the other side's place in a ring is one it cannot have reached; "
           "the connection was closed; library, module, device and server must "
           "be of one version";
  if (peer == Peer::kClient) return clientRemedy(error, action);
  if (error == ENOTCONN && action != "open")
    return "a timeout or another failure closed it, or it never was open; "
           "open() it again";
  if (error == ETIMEDOUT && action != "open")
    return "the connection was closed, since a late answer would be taken for "
           "the next one; raise the timeout or see the server's log";
  return peer == Peer::kDevice ? deviceRemedy(error) : socketRemedy(error);
}

}  // namespace

std::string explain(const std::string& name, const std::string& action,
                    int error, Peer peer, const std::string& reason) {
  std::string line =
      name + ": " + action + ": " +
      (reason.empty() ? std::generic_category().message(error) : reason);
  if (const char* remedy = remedyFor(error, action, peer))
    line += std::string("; ") + remedy;
  return line;
}

}  // namespace lanecall
