// SPDX-License-Identifier: Apache-2.0
#include "async_far.h"

#include <fcntl.h>
#include <lanecall/descriptor.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_ring_io.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "ring_pair.h"

namespace lanecall::test {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Opens whatever it is made on, with an outcome of the test's.
class NearIo : public RingIo {
 public:
  NearIo(AsyncFar* far, std::shared_ptr<RingIo> under)
      : far_(far), under_(std::move(under)) {}
  ~NearIo() override { close(); }

  int open() override {
    if (int error = std::exchange(far_->nextOpen, 0)) return error;
    open_ = true;
    return 0;
  }
  int status() override {
    if (int error = std::exchange(far_->nextStatus, 0)) return error;
    return under_->status();
  }
  Ring& outgoing() override { return under_->outgoing(); }
  Ring& incoming() override { return under_->incoming(); }
  void notify() override { under_->notify(); }
  bool isCarried() const override { return under_->isCarried(); }
  void move(short events) override { under_->move(events); }
  int poll(short, int) override { std::abort(); }
  void interrupt() override { under_->interrupt(); }
  int end() const override { return under_->end(); }
  void close() override {
    if (std::exchange(open_, false)) under_->close();
  }
  bool isOpen() const override { return open_; }
  std::string name() const override { return "near"; }

 protected:
  AsyncFar* const far_;
  const std::shared_ptr<RingIo> under_;
  bool open_ = false;
};

// ---- A socket pair ---------------------------------------------------------

class PairedSocket : public SocketIo {
 public:
  using SocketIo::SocketIo;
  int descriptor() const { return fd(); }
};

class SocketFar : public AsyncFar {
 public:
  SocketFar() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                     ends) < 0)
      fail("socketpair");
    far_ = Descriptor(ends[0]);
    near_ = std::make_shared<PairedSocket>(Descriptor(ends[1]), "near");
  }

  std::unique_ptr<RingIo> near() override {
    return std::make_unique<NearIo>(this,
                                    std::make_shared<StreamRingIo>(near_));
  }
  int descriptor() override { return near_->descriptor(); }

  std::string take() override {
    std::string all;
    char bytes[4096];
    ssize_t got;
    while ((got = ::recv(far_.get(), bytes, sizeof bytes, 0)) > 0)
      all.append(bytes, static_cast<std::size_t>(got));
    return all;
  }
  void put(std::string* bytes) override {
    const ssize_t put =
        ::send(far_.get(), bytes->data(), bytes->size(), MSG_NOSIGNAL);
    if (put > 0) bytes->erase(0, static_cast<std::size_t>(put));
  }
  // A socket pair that is closed with bytes unread is reset.
  void end(int how) override {
    if (how == -ESHUTDOWN) take();
    far_.reset();
  }
  bool isClosed() override {
    pollfd wait = {far_.get(), POLLIN, 0};
    return ::poll(&wait, 1, 0) == 1 && (wait.revents & POLLHUP);
  }

 private:
  Descriptor far_;
  std::shared_ptr<PairedSocket> near_;
};

// ---- Two rings -------------------------------------------------------------

class RingsFar;

// Its descriptor, of a pipe, is readable from the time it was told, of bytes or
// of room, to when it looks again; never writable.
class NearRings : public NearIo {
 public:
  NearRings(AsyncFar* far, std::shared_ptr<RingIo> under, int told)
      : NearIo(far, std::move(under)), told_(told) {}
  int end() const override {
    char bytes[64];
    while (::read(told_, bytes, sizeof bytes) > 0) continue;
    return NearIo::end();
  }

 private:
  const int told_;
};

class RingsFar : public AsyncFar {
 public:
  RingsFar() : pair_(kRingBytes), far_(pair_.end(RingPair::kServer)) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) fail("pipe2");
    told_ = Descriptor(ends[0]);
    tell_ = Descriptor(ends[1]);
  }

  std::unique_ptr<RingIo> near() override {
    std::shared_ptr<RingIo> end = pair_.end(RingPair::kClient);
    end->open();
    return std::make_unique<NearRings>(this, end, told_.get());
  }
  int descriptor() override { return told_.get(); }

  // Asks to be told of the next byte, as a device does.
  std::string take() override {
    RingIo::Ring& ring = far_->incoming();
    std::string all;
    for (;;) {
      const __s64 held = lanecall_ring_look(&ring.core);
      if (held <= 0) break;
      all.append(reinterpret_cast<char*>(ring.bytes) +
                     lanecall_ring_offset(&ring.core, ring.core.own),
                 static_cast<std::size_t>(held));
      if (lanecall_ring_release(&ring.core, static_cast<std::uint32_t>(held)))
        tell();
    }
    lanecall_ring_arm(&ring.core);
    return all;
  }
  void put(std::string* bytes) override {
    RingIo::Ring& ring = far_->outgoing();
    const __s64 space = lanecall_ring_space(&ring.core);
    if (space <= 0) return;
    const auto part = static_cast<std::uint32_t>(
        std::min<std::size_t>(static_cast<std::size_t>(space), bytes->size()));
    std::memcpy(ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own),
                bytes->data(), part);
    bytes->erase(0, part);
    if (lanecall_ring_publish(&ring.core, part)) tell();
  }
  void end(int how) override {
    pair_.finish(RingPair::kClient, how);
    tell();
  }
  bool isClosed() override { return far_->end() != 0; }

  int told() override { return pair_.told[RingPair::kServer]; }
  lanecall_index_page* words() override { return &pair_.words(); }

 private:
  // A pipe that is full has told already.
  void tell() {
    if (::write(tell_.get(), "!", 1) < 0) return;
  }

  RingPair pair_;
  std::unique_ptr<RingIo> far_;
  Descriptor told_, tell_;
};

}  // namespace

std::unique_ptr<AsyncFar> AsyncFar::make(Kind kind) {
  if (kind == kSocket) return std::make_unique<SocketFar>();
  return std::make_unique<RingsFar>();
}

}  // namespace lanecall::test
