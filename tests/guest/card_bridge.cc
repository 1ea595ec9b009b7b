// SPDX-License-Identifier: Apache-2.0
// card_bridge CARD SERVER: plays a card's firmware at the Unix socket CARD, and
// connects each channel of the card to the Unix socket SERVER (two paths). So
// what talks to a server through the device's socket does through card memory,
// too. Says "ready" on its output once devices can come; ends with its input.
#include <lanecall/card_port.h>
#include <lanecall/descriptor.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>

namespace lanecall {
namespace {

Descriptor connectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                sizeof address) < 0)
    std::fprintf(stderr, "card_bridge: %s: %s\n", path.c_str(),
                 std::strerror(errno));
  return socket;
}

// A channel and its socket, and a thread for each direction.
class Bridge {
 public:
  Bridge(std::unique_ptr<RingIo> card, Descriptor socket)
      : card_(std::move(card)), socket_(std::move(socket)) {}

  void run() {
    std::thread toServer([this] { moveToServer(); });
    // Who has closed in the meantime may have written before: that is sent.
    if (moveToCard()) card_->interrupt();
    toServer.join();
    card_->close();
  }

 private:
  // Until the client has closed and all it wrote is sent.
  void moveToServer() {
    RingIo::Ring& tx = card_->incoming();
    for (;;) {
      const int end = card_->end();
      std::int64_t bytes = lanecall_ring_look(&tx.core);
      if (bytes == 0 && end == 0) bytes = lanecall_ring_arm(&tx.core);
      if (bytes > 0) {
        bytes = ::send(socket_.get(), at(tx), bytes, MSG_NOSIGNAL);
        if (bytes > 0 && lanecall_ring_release(&tx.core, bytes))
          card_->notify();
      }
      if (bytes < 0 || (bytes == 0 && end != 0)) break;
      if (bytes == 0 && card_->poll(POLLIN, -1) == -ECANCELED) break;
    }
    ::shutdown(socket_.get(), SHUT_WR);
  }

  // Until the server has closed, which is true, or there is nobody to tell.
  bool moveToCard() {
    RingIo::Ring& rx = card_->outgoing();
    while (card_->end() == 0) {
      std::int64_t room = lanecall_ring_space(&rx.core);
      if (room == 0) room = lanecall_ring_arm_space(&rx.core, 1);
      if (room == 0) {
        card_->poll(POLLOUT, -1);
        continue;
      }
      if (room > 0) room = ::recv(socket_.get(), at(rx), room, 0);
      if (room <= 0) return true;
      if (lanecall_ring_publish(&rx.core, room)) card_->notify();
    }
    return false;
  }

  static std::uint8_t* at(const RingIo::Ring& ring) {
    return ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own);
  }

  const std::unique_ptr<RingIo> card_;
  const Descriptor socket_;
};

void serve(CardPort& port, const std::string& server) {
  pollfd watched[] = {{port.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (!watched[1].revents) {
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return;
    while (auto channel = port.accept()) {
      std::thread([bridge = std::make_unique<Bridge>(std::move(channel),
                                                     connectTo(server))] {
        bridge->run();
      }).detach();
    }
  }
}

}  // namespace
}  // namespace lanecall

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: card_bridge CARD SERVER\n", stderr);
    return 2;
  }
  try {
    lanecall::CardPort port(std::string("unix:") + argv[1]);
    std::puts("ready");
    std::fflush(stdout);
    lanecall::serve(port, argv[2]);
    std::_Exit(0);  // channels may be open still, their threads asleep
  } catch (const std::exception& error) {
    std::fprintf(stderr, "card_bridge: %s\n", error.what());
    return 1;
  }
}
