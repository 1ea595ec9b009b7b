// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_buffers.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace lanecall {
namespace {

std::uint64_t pageBytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// What keeps a buffer's bytes.
struct Piece {
  std::shared_ptr<const Mapping> memory;
  std::unique_ptr<CardPlaces::Place> place;
};

}  // namespace

CardSpace CardBuffers::space() const {
  const std::uint64_t most = places_->bufferBytesMost();
  // Rings may have taken some of it.
  return {most, std::min(most - places_->bufferBytes(), places_->freeBytes())};
}

std::shared_ptr<CardBuffer> CardBuffers::allocate(std::size_t bytes) const {
  if (bytes == 0)
    throw std::invalid_argument("a buffer in card memory without bytes");
  auto place = places_->take(bytes, pageBytes(), CardPlaces::Use::kBuffer);
  if (!place)
    throw CardMemoryFull(
        "no room for a buffer of " + std::to_string(bytes) +
        " bytes: buffers have " + std::to_string(places_->bufferBytes()) +
        " of at most " + std::to_string(places_->bufferBytesMost()) +
        " bytes of card memory; give QEMU a larger card-memory=, or the server "
        "a larger --card-buffers");
  const std::uint64_t offset = place->offset();
  auto piece = std::make_shared<Piece>(Piece{memory_, std::move(place)});
  return std::make_shared<CardBuffer>(memory_->data() + offset, bytes,
                                      places_.get(), offset, std::move(piece));
}

}  // namespace lanecall
