// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_places.h>

#include <algorithm>

namespace lanecall {
namespace {

// Of spans that are avoided: looking past them is to stay cheap. Whatever is
// avoided is tried again at some time.
constexpr std::size_t kAvoidedMost = 256;

std::uint64_t roundUp(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace

// With mutex_ held. One pass over what is taken, which is in order.
bool CardPlaces::findRoom(std::uint64_t bytes, std::uint64_t alignment,
                          Span* room) const {
  auto fits = [&](std::uint64_t at) {
    return bytes <= bytes_ && at <= bytes_ - bytes;
  };
  auto taken = taken_.begin();
  for (std::uint64_t at = 0; fits(at);) {
    auto isInTheWay = [at, bytes](const Span& span) {
      return at < span.end && span.begin < at + bytes;
    };
    while (taken != taken_.end() && taken->end <= at) ++taken;
    std::uint64_t beyond = 0;
    if (taken != taken_.end() && isInTheWay(*taken)) beyond = taken->end;
    auto avoided = std::find_if(avoided_.begin(), avoided_.end(), isInTheWay);
    if (avoided != avoided_.end()) beyond = std::max(beyond, avoided->end);
    if (beyond == 0) {
      *room = {at, at + bytes};
      return true;
    }
    at = roundUp(beyond, alignment);
  }
  return false;
}

std::unique_ptr<CardPlaces::Place> CardPlaces::take(std::uint64_t bytes,
                                                    std::uint64_t alignment,
                                                    Use use) {
  // Card memory's own size bounds every sum below.
  if (bytes == 0 || bytes > bytes_ || alignment > bytes_) return nullptr;
  bytes = roundUp(bytes, alignment);
  std::lock_guard<std::mutex> lock(mutex_);
  if (use == Use::kBuffer &&
      (bytes > bufferBytesMost_ || bufferBytes_ > bufferBytesMost_ - bytes))
    return nullptr;
  Span room;
  if (!findRoom(bytes, alignment, &room)) {
    if (avoided_.empty()) return nullptr;
    avoided_.clear();
    if (!findRoom(bytes, alignment, &room)) return nullptr;
  }
  room.use = use;
  auto span = taken_.insert(
      std::find_if(taken_.begin(), taken_.end(),
                   [&](const Span& each) { return each.begin > room.begin; }),
      room);
  if (use == Use::kBuffer) bufferBytes_ += bytes;
  return std::make_unique<Place>(shared_from_this(), span);
}

std::uint64_t CardPlaces::freeBytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::uint64_t bytes = bytes_;
  for (const Span& span : taken_) bytes -= span.end - span.begin;
  return bytes;
}

std::uint64_t CardPlaces::bufferBytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return bufferBytes_;
}

// What is inside of what is avoided already is not noted again: there can be
// only so many that differ.
void CardPlaces::avoid(std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0 || offset >= bytes_) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const Span span{offset, offset + std::min(bytes, bytes_ - offset)};
  auto covers = [&](const Span& other) {
    return other.begin <= span.begin && span.end <= other.end;
  };
  if (std::any_of(avoided_.begin(), avoided_.end(), covers)) return;
  if (avoided_.size() >= kAvoidedMost) avoided_.clear();
  avoided_.push_back(span);
}

void CardPlaces::giveBack(std::list<Span>::iterator span) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (span->use == Use::kBuffer) bufferBytes_ -= span->end - span->begin;
  taken_.erase(span);
}

}  // namespace lanecall
