// SPDX-License-Identifier: Apache-2.0
//
// Which parts of card memory are given out. Internal to the server library.
//
// - First fit, in multiples of the alignment asked for.
// - Rings and buffers share it. Buffers together have a bound, so that rings
//   still fit.
// - A place is free again when the last holder of it is gone: the protocol may
//   be done with a channel while a thread still writes into its rings.
// - What the device reports as in use (by channels of an earlier session, which
//   nobody here remembers) is avoided while there is other room; when there is
//   none it is tried again, since nobody says when it becomes free.
#ifndef LANECALL_CARD_PLACES_H
#define LANECALL_CARD_PLACES_H

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace lanecall {

class CardPlaces : public std::enable_shared_from_this<CardPlaces> {
 public:
  enum class Use { kRings, kBuffer };

 private:
  struct Span {
    std::uint64_t begin;
    std::uint64_t end;
    Use use = Use::kRings;
  };

 public:
  // Given back when destroyed.
  class Place {
   public:
    Place(std::shared_ptr<CardPlaces> of, std::list<Span>::iterator span)
        : of_(std::move(of)), span_(span) {}
    ~Place() { of_->giveBack(span_); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    std::uint64_t offset() const { return span_->begin; }
    std::uint64_t bytes() const { return span_->end - span_->begin; }

   private:
    const std::shared_ptr<CardPlaces> of_;
    const std::list<Span>::iterator span_;
  };

  CardPlaces(std::uint64_t bytes, std::uint64_t bufferBytesMost)
      : bytes_(bytes), bufferBytesMost_(bufferBytesMost) {}

  // Null when there is no room. alignment is a power of two; bytes, not 0, is
  // rounded up to it. Any thread.
  std::unique_ptr<Place> take(std::uint64_t bytes, std::uint64_t alignment,
                              Use use = Use::kRings);

  // What is not taken, in one piece or many. Any thread.
  std::uint64_t freeBytes() const;
  std::uint64_t bufferBytes() const;
  std::uint64_t bufferBytesMost() const { return bufferBytesMost_; }

  // The device says that this is in use.
  void avoid(std::uint64_t offset, std::uint64_t bytes);

 private:
  void giveBack(std::list<Span>::iterator span);
  bool findRoom(std::uint64_t bytes, std::uint64_t alignment, Span* room) const;

  const std::uint64_t bytes_;
  const std::uint64_t bufferBytesMost_;
  mutable std::mutex mutex_;  // guards all below
  std::uint64_t bufferBytes_ = 0;
  std::list<Span> taken_;  // in order
  std::vector<Span> avoided_;
};

}  // namespace lanecall

#endif
