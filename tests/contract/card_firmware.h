// SPDX-License-Identifier: Apache-2.0
// The card's firmware, as far as a device sees it: the server's side of
// lanecall/card.h, every move made by the test. CardService makes the moves of
// a good server by itself, for tests to which they do not matter.
#ifndef LANECALL_TESTS_CARD_FIRMWARE_H
#define LANECALL_TESTS_CARD_FIRMWARE_H

#include <lanecall/card.h>
#include <lanecall/deadline.h>
#include <lanecall/descriptor.h>
#include <lanecall/ring.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lanecall::test {

class TempDir;

// A frame of the device's, with what came with it.
struct FirmwareFrame {
  lanecall_card_frame frame{};
  std::vector<Descriptor> descriptors{};
};

// Frames of the server's.
lanecall_card_frame firmwareFrame(uint32_t type, uint64_t id,
                                  uint32_t error = 0);
lanecall_card_frame firmwareWelcome();
lanecall_card_frame firmwarePlaced(uint64_t id, const lanecall_places& places);

// One session with a device. Any thread may send; one receives.
class FirmwareSession {
 public:
  explicit FirmwareSession(Descriptor socket) : socket_(std::move(socket)) {}
  ~FirmwareSession();
  FirmwareSession(const FirmwareSession&) = delete;
  FirmwareSession& operator=(const FirmwareSession&) = delete;

  // Takes HELLO and maps card memory; then sends WELCOME. False if it is no
  // good HELLO.
  bool takeHello(const Deadline& deadline);
  bool greet(const Deadline& deadline) {
    return takeHello(deadline) && send(firmwareWelcome());
  }

  // Nothing at the end of the session or at the deadline.
  std::optional<FirmwareFrame> receive(const Deadline& deadline);
  bool send(const lanecall_card_frame& frame);
  bool sendPacket(std::span<const unsigned char> bytes,
                  std::span<const int> descriptors = {});
  // Did the device end the session by the deadline? Drops frames.
  bool waitEnd(const Deadline& deadline);
  void close() { socket_.reset(); }

  int fd() const { return socket_.get(); }
  // After takeHello().
  const lanecall_card_greeting& hello() const { return hello_.frame.greeting; }
  int memoryFd() const { return hello_.descriptors.at(0).get(); }
  std::span<unsigned char> memory() const { return memory_; }

 private:
  Descriptor socket_;
  FirmwareFrame hello_;
  std::span<unsigned char> memory_;
};

// Where devices connect to. It may go and come back.
class FirmwareListener {
 public:
  explicit FirmwareListener(const TempDir& dir);  // listens

  std::string card() const { return "unix:" + path_; }
  std::unique_ptr<FirmwareSession> accept(const Deadline& deadline);
  void stop() { listener_.reset(); }
  void listen();
  int fd() const { return listener_.get(); }

 private:
  const std::string path_;
  Descriptor listener_;
};

// The server's end of a running channel: consumer of TX, producer of RX. Lives
// no longer than its session. One thread at a time.
class FirmwareChannel {
 public:
  FirmwareChannel(const FirmwareSession& session,
                  const lanecall_card_place& wanted,
                  const lanecall_places& places, Descriptor doorbell,
                  Descriptor interrupt);

  // What fits or is there now; 0 if nothing; -1 if the driver has lied about
  // its index. Tells the driver if it asked.
  __s64 trySend(std::span<const unsigned char> bytes);
  __s64 tryReceive(std::span<unsigned char> into);

  // Asks to be told, and looks once more: as the above, how much could move.
  __s64 armSend();
  __s64 armReceive() { return lanecall_ring_arm(&tx_); }
  __s64 held() { return lanecall_ring_look(&tx_); }

  int doorbell() const { return doorbell_.get(); }
  void clearDoorbell();  // it was heard
  bool waitDoorbell(const Deadline& deadline);
  void interruptDriver();

  // For tests that look at, or spoil, the parts.
  lanecall_index_page& index() { return *index_; }
  std::span<unsigned char> txBytes() { return tx_bytes_; }
  std::span<unsigned char> rxBytes() { return rx_bytes_; }

 private:
  lanecall_index_page* index_;
  std::span<unsigned char> tx_bytes_, rx_bytes_;
  lanecall_ring tx_, rx_;
  Descriptor doorbell_, interrupt_;
};

}  // namespace lanecall::test

#endif
