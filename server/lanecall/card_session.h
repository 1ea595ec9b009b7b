// SPDX-License-Identifier: Apache-2.0
//
// One device's connection to a card port: lanecall/card.h from the server's
// side. Internal to the server library.
//
// - Belongs to the thread of its event loop; only what CardChannelSignals has
//   is shared with the threads that serve channels.
// - Takes nothing on trust: a frame that is too short, of an unknown type, out
//   of turn, or with other descriptors than its type has, ends the session, and
//   with it all of its channels.
// - Card memory is everybody's: no channel is accepted without room for usual
//   rings, and one that wants more than its share leaves half of it free.
// - Handlers' threads send DMA by the session's socket, too (dma_engine.h).
// - Never waits: frames that the device does not take are queued, a bounded
//   number of them.
#ifndef LANECALL_CARD_SESSION_H
#define LANECALL_CARD_SESSION_H

#include <lanecall/card.h>
#include <lanecall/card_channel.h>
#include <lanecall/card_memory.h>
#include <lanecall/card_places.h>
#include <lanecall/descriptor.h>
#include <lanecall/dma_engine.h>
#include <lanecall/event_loop.h>
#include <lanecall/interrupter.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lanecall {

class CardSession;

// What a session needs of its port.
class CardSessionHost {
 public:
  virtual EventLoop& loop() = 0;
  virtual std::shared_ptr<const Interrupter> interrupter() = 0;
  // Places of one card memory, named by its inode: one book for all sessions,
  // since threads may still write into rings of a session that has ended.
  virtual std::shared_ptr<CardPlaces> placesOf(dev_t device, ino_t inode,
                                               std::uint64_t bytes) = 0;
  virtual void attached(const CardSession& session) = 0;
  // Whether another channel, of this one, is welcome: 0, or the LANECALL_ERR_*
  // to decline it with.
  virtual std::uint32_t refusal(const Caller& caller) = 0;
  // Counts a channel, for refusal(), as long as anybody holds it: the device
  // may be done with a channel that a thread still serves.
  virtual std::shared_ptr<void> admit() = 0;
  // A channel was declined, the first of perhaps many: why, and what to do.
  virtual void declined(const CardSession& session, const std::string& why) = 0;
  virtual void channelReady(std::unique_ptr<CardChannel> channel) = 0;
  // The last thing a session says; it may be destroyed.
  virtual void ended(CardSession& session, const std::string& why) = 0;

 protected:
  ~CardSessionHost() = default;
};

class CardSession : public std::enable_shared_from_this<CardSession> {
 public:
  CardSession(CardSessionHost& host, Descriptor socket, std::string peer)
      : host_(host), socket_(std::move(socket)), peer_(std::move(peer)) {}
  // All channels end as broken.
  ~CardSession();

  // Throws std::system_error.
  void start();

  const std::string& peer() const { return peer_; }
  // As HELLO has it, made fit for a log.
  const std::string& device() const { return device_; }
  std::uint64_t cardBytes() const { return memory_ ? memory_->bytes() : 0; }
  std::uint32_t channels() const { return channels_; }

 private:
  using Frame = lanecall_card_frame;
  using Descriptors = std::vector<Descriptor>;

  enum class State { kAccepted, kPlaced, kStarted, kEnded };

  struct Channel {
    State state = State::kAccepted;
    bool draining = false;
    Caller caller;
    int busy = 0;
    std::uint32_t txBytes = 0;
    std::uint32_t rxBytes = 0;
    std::uint32_t pageBytes = 0;
    std::shared_ptr<CardChannelSignals> signals;
    std::shared_ptr<CardModeration> moderation;
    std::shared_ptr<void> admission;  // until it has ended
    // What ACCEPT promised; from PLACE on index, TX, RX.
    std::vector<std::shared_ptr<CardPlaces::Place>> places;
  };
  using Channels = std::map<std::uint64_t, Channel>;

  // kCut: a frame, but this process had no room for all of its descriptors.
  enum class Got { kFrame, kCut, kNothing, kEnd };

  void ready(std::uint32_t events);
  void takeFrames();
  std::span<const std::uint8_t> payload() const {
    return std::span(payload_).first(payloadBytes_);
  }
  Got receive(Frame* frame, Descriptors* descriptors);
  void take(const Frame& frame, Descriptors descriptors, bool isCut);
  void takeHello(const Frame& frame, Descriptors descriptors);
  void takeOffer(const Frame& frame, Descriptors descriptors, bool isCut);
  void takePlace(std::uint64_t id, Channel& channel,
                 const lanecall_card_place& place);
  void takeBusy(std::uint64_t id, Channel& channel,
                const lanecall_card_busy& busy);
  void takeStart(std::uint64_t id, Channel& channel);
  void takeDrain(std::uint64_t id, Channel& channel);

  void moderate(Channel& channel, std::uint32_t bytes,
                std::uint32_t microseconds);
  Caller callerOf(const lanecall_card_offer& offer) const;
  void decline(std::uint64_t id, const std::string& why);
  bool reserve(Channel& channel);
  bool is_fair(std::uint64_t bytes) const;
  void choosePlaces(std::uint64_t id, Channel& channel);
  std::unique_ptr<CardChannel> map(std::uint64_t id, const Channel& channel);
  void channelClosed(std::uint64_t id, std::uint32_t error);
  void endChannel(std::uint64_t id, Channel& channel, std::uint32_t error);
  void release(std::uint64_t id);
  void forget(Channels::iterator channel);

  void send(std::uint32_t type, std::uint64_t id, std::uint32_t error = 0);
  void send(const Frame& frame);
  void sendQueued();
  void watch();
  void startDma(std::uint32_t operationsMost);

  CardSessionHost& host_;
  const Descriptor socket_;
  const std::string peer_;
  std::string told_;    // its name, which may be empty
  std::string device_;  // for logs; empty before HELLO
  std::uint32_t channels_ = 0;
  std::optional<CardMemory> memory_;  // from HELLO on
  std::shared_ptr<CardPlaces> places_;
  std::shared_ptr<DmaEngine> dma_;     // null: it knows none
  std::vector<std::uint8_t> payload_;  // what came behind a frame: room, and
  std::size_t payloadBytes_ = 0;       // how much
  std::string declinedFor_;            // why the last OFFER was, if it was
  Channels offered_;                   // until closed
  std::uint64_t lastId_ = 0;           // the greatest offered
  std::deque<Frame> unsent_;
  std::string lost_;  // why, once it is not empty
};

}  // namespace lanecall

#endif
