// SPDX-License-Identifier: Apache-2.0
//
// The transport of a card's channel: a RingTransport that keeps the bound in
// bytes of interrupts that are held back (lanecall/device.h, "Moderation") at
// the end of each message, when no other hears of what was published.
#ifndef LANECALL_CARD_TRANSPORT_H
#define LANECALL_CARD_TRANSPORT_H

#include <lanecall/card_channel.h>
#include <lanecall/ring_transport.h>

#include <memory>
#include <utility>

namespace lanecall {

class CardTransport : public RingTransport {
 public:
  explicit CardTransport(std::unique_ptr<CardChannel> channel,
                         const Configuration& configuration = nullptr)
      : RingTransport(std::move(channel), configuration, Peer::kClient) {}

  void flush() override {
    RingTransport::flush();
    channel().announce();
  }

  CardChannel& channel() const { return static_cast<CardChannel&>(io()); }
};

}  // namespace lanecall

#endif
