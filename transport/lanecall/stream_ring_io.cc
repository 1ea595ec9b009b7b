// SPDX-License-Identifier: Apache-2.0
#include <lanecall/descriptor.h>
#include <lanecall/stream_ring_io.h>
#include <poll.h>
#include <sys/mman.h>

#include <cerrno>

namespace lanecall {
namespace {

int makeRing(Mapping& memory) {
  Descriptor file(::memfd_create("lanecall ring", MFD_CLOEXEC));
  if (!file.valid()) return -errno;
  if (::ftruncate(file.get(), StreamRingIo::kRingBytes) < 0) return -errno;
  return memory.mapTwice(file.get(), 0, StreamRingIo::kRingBytes,
                         PROT_READ | PROT_WRITE);
}

bool is_nothing(ssize_t result) {
  return result == -EAGAIN || result == -EINTR;
}

}  // namespace

StreamRingIo::StreamRingIo(std::shared_ptr<ChannelIo> channel)
    : ChannelRingIo(std::move(channel)) {}

int StreamRingIo::open() {
  prepared_ = false;
  return channel().open();
}

int StreamRingIo::status() {
  if (int outcome = channel().status()) return outcome;
  return prepared_ ? 0 : prepare();
}

// Empty rings for a new connection.
int StreamRingIo::prepare() {
  for (Mapping& memory : memory_)
    if (!memory.valid())
      if (int error = makeRing(memory)) return error;
  words_ = {};
  end_ = 0;
  outgoing_.bytes = memory_[0].data();
  incoming_.bytes = memory_[1].data();
  for (lanecall_ring* side : {&outgoing_.core, &sending_})
    lanecall_ring_init(side, &words_.tx_producer, &words_.tx_consumer,
                       kRingBytes);
  for (lanecall_ring* side : {&incoming_.core, &receiving_})
    lanecall_ring_init(side, &words_.rx_producer, &words_.rx_consumer,
                       kRingBytes);
  prepared_ = true;
  return 0;
}

void StreamRingIo::move(short events) {
  if (events & POLLIN) receive();
  if (events & POLLOUT) send();
}

void StreamRingIo::receive() {
  const auto space = static_cast<std::size_t>(lanecall_ring_space(&receiving_));
  if (space == 0) return;
  const ssize_t got = channel().read(
      incoming_.bytes + lanecall_ring_offset(&receiving_, receiving_.own),
      space);
  if (got > 0)
    lanecall_ring_publish(&receiving_, static_cast<std::uint32_t>(got));
  else if (!is_nothing(got))
    finish(got == 0 ? -ESHUTDOWN : static_cast<int>(got));
}

// The first end counts: after an error a socket may say end of file.
void StreamRingIo::finish(int end) {
  int none = 0;
  end_.compare_exchange_strong(none, end);
}

void StreamRingIo::send() {
  for (;;) {
    const auto held = static_cast<std::size_t>(lanecall_ring_look(&sending_));
    if (held == 0) return;
    const ssize_t put = channel().write(
        outgoing_.bytes + lanecall_ring_offset(&sending_, sending_.own), held);
    if (put <= 0) {
      // What has come may still be read.
      if (put < 0 && !is_nothing(put))
        finish(put == -EPIPE ? -ESHUTDOWN : static_cast<int>(put));
      return;
    }
    lanecall_ring_release(&sending_, static_cast<std::uint32_t>(put));
  }
}

}  // namespace lanecall
