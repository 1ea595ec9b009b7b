// SPDX-License-Identifier: Apache-2.0
//
// Where a server is a card's firmware: devices attach to it (QEMU: -device
// edu,card=unix:/path), each any number of times in its life, and every channel
// that a client opens on them comes here, its rings in card memory.
//
// - A thread of the port's own answers the devices. It sleeps while nothing
//   opens or closes.
// - The devices' DMA, for whoever serves their channels: card_device.h.
// - Channels are given out ready to use, to whoever calls accept():
//   TCardServerTransport for Thrift's servers, PollingServer, or a loop of your
//   own. A channel outlives the port, as one whose connection broke.
#ifndef LANECALL_CARD_PORT_H
#define LANECALL_CARD_PORT_H

#include <lanecall/card_channel.h>
#include <lanecall/listener.h>
#include <lanecall/policy.h>
#include <lanecall/uri.h>
#include <spdlog/logger.h>

#include <memory>
#include <string>

namespace lanecall {

// Throws std::invalid_argument, one line, unless it is unix:/path.
Uri parseCardUri(const std::string& address);

struct CardPortOptions {
  // More channels at a time are declined: the device then uses its socket, if
  // it has one.
  int maxChannels = 256;
  // How much of each card's memory buffers for DMA (card_device.h) may take;
  // the rest is there for rings.
  int buffersPercent = 50;
  SocketAccess access = {};  // of devices
  Policy policy = {};        // whose channels are accepted
};

class CardPort {
 public:
  // Listens at address, "unix:/path". Throws std::invalid_argument or
  // std::runtime_error, one line that says what to do.
  explicit CardPort(const std::string& address,
                    std::shared_ptr<spdlog::logger> log = nullptr,
                    CardPortOptions options = {});

  // Every session ends, and with it every channel.
  ~CardPort();
  CardPort(const CardPort&) = delete;
  CardPort& operator=(const CardPort&) = delete;

  // "card:unix:/path".
  std::string address() const;

  // Readable while a channel waits to be accepted.
  int fd() const;

  // Whether accept() has something, from memory: for whoever spins.
  bool hasWaiting() const;

  // The next channel, or null; never blocks. Any thread.
  std::unique_ptr<CardChannel> accept();

  // From now on devices find nobody, and channels are declined; those that are
  // there go on. Any thread.
  void stopListening();

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace lanecall

#endif
