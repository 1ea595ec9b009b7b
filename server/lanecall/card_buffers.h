// SPDX-License-Identifier: Apache-2.0
//
// Gives out pieces of a session's card memory as buffers for DMA. Internal to
// the server library. Any thread; outlives the session.
#ifndef LANECALL_CARD_BUFFERS_H
#define LANECALL_CARD_BUFFERS_H

#include <lanecall/card_buffer.h>
#include <lanecall/card_device.h>
#include <lanecall/card_places.h>
#include <lanecall/mapping.h>

#include <cstddef>
#include <memory>
#include <utility>

namespace lanecall {

class CardBuffers {
 public:
  // memory: all of the card memory that places is the book of. One mapping for
  // all buffers: one that is used again has its pages, and costs no system
  // call.
  CardBuffers(std::shared_ptr<CardPlaces> places,
              std::shared_ptr<const Mapping> memory)
      : places_(std::move(places)), memory_(std::move(memory)) {}

  // Throws CardMemoryFull, std::invalid_argument for no bytes.
  std::shared_ptr<CardBuffer> allocate(std::size_t bytes) const;

  CardSpace space() const;

  bool owns(const CardBuffer& buffer) const {
    return buffer.card() == places_.get();
  }

  // The device may still write there for a moment, though nobody waits for it.
  void avoid(const CardBuffer& buffer) const {
    places_->avoid(buffer.offset(), buffer.bytes());
  }

 private:
  const std::shared_ptr<CardPlaces> places_;
  const std::shared_ptr<const Mapping> memory_;
};

}  // namespace lanecall

#endif
