// SPDX-License-Identifier: Apache-2.0
//
// The other end of a card port: a device, and the clients of its channels, as
// far as a server sees them. Sends what it is told to, good or bad.
#ifndef LANECALL_TESTS_UNIT_CARD_DEVICE_H
#define LANECALL_TESTS_UNIT_CARD_DEVICE_H

#include <lanecall/card.h>
#include <lanecall/descriptor.h>
#include <lanecall/mapping.h>
#include <lanecall/ring_io.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lanecall::test {

// A client's end of a channel that runs.
class CardClient : public RingIo {
 public:
  CardClient(int memory, const lanecall_places& places, std::uint32_t txBytes,
             std::uint32_t rxBytes, int doorbell, int interrupt);

  int open() override { return -ENOTCONN; }
  int status() override { return 0; }
  Ring& outgoing() override { return tx_; }
  Ring& incoming() override { return rx_; }
  void notify() override;
  int end() const override { return end_; }
  int poll(short events, int timeoutMs) override;
  void interrupt() override;
  void close() override { open_ = false; }
  bool isOpen() const override { return open_; }
  std::string name() const override { return "test client"; }

  // What the driver would do on news from the device.
  void setEnd(int error);

  lanecall_index_page& words() { return *words_; }
  std::atomic<int> doorbells{0};
  // How often the server has interrupted, those included that poll() took.
  int interrupts();
  // Readable when it has since interrupts().
  int interruptFd() const { return interrupt_.get(); }

 private:
  Mapping index_, txBytes_, rxBytes_;
  lanecall_index_page* words_;
  Ring tx_, rx_;
  Descriptor doorbell_, interrupt_, wake_;
  std::atomic<int> end_{0};
  std::atomic<int> interrupts_{0};
  bool open_ = true;
};

// A DMA packet, whose counts were right.
struct DmaPacket {
  std::vector<lanecall_dma_operation> operations;
  std::vector<lanecall_dma_extent> extents;
};

class CardDevice {
 public:
  static constexpr std::uint64_t kCardBytes = 64 << 20;

  // Connects; says nothing yet.
  explicit CardDevice(const std::string& path,
                      std::uint64_t cardBytes = kCardBytes);
  // The same device, connected anew.
  void connect(const std::string& path);
  void disconnect() { socket_.reset(); }

  static lanecall_card_frame frame(std::uint32_t type, std::uint64_t id = 0);
  lanecall_card_frame helloFrame() const;
  lanecall_card_frame placeFrame(std::uint64_t id, std::uint32_t tx = 4096,
                                 std::uint32_t rx = 4096) const;

  void send(const lanecall_card_frame& frame,
            const std::vector<int>& descriptors = {});
  void sendBytes(const void* bytes, std::size_t size,
                 const std::vector<int>& descriptors = {});
  void send(std::uint32_t type, std::uint64_t id) { send(frame(type, id)); }

  // ---- DMA

  // Before greet(): how many operations may be under way; 0, the default: it
  // knows no DMA.
  std::uint32_t dmaOperations = 0;
  // The next packet is one of DMA; null when the server has ended the session.
  std::optional<DmaPacket> receiveDma();
  bool isReadable() const;  // or the session has ended
  int fd() const { return socket_.get(); }
  void sendDone(const std::vector<lanecall_dma_done>& done);

  // Waits for the next frame; null when the server has ended the session.
  std::optional<lanecall_card_frame> receive();
  // The next frame has this type and channel.
  lanecall_card_frame expect(std::uint32_t type, std::uint64_t id = 0);
  void expectEnded();

  // HELLO and WELCOME.
  void greet();
  // Whose channels are offered.
  lanecall_card_offer opener{};
  // OFFER to ACCEPT; returns the id.
  std::uint64_t offer();
  // OFFER; whether it was accepted.
  bool tryOffer();
  // OFFER to DECLINE, with this error.
  void offerDeclined(std::uint32_t error);
  // ACCEPTED to START.
  std::unique_ptr<CardClient> start(std::uint64_t id, std::uint32_t tx = 4096,
                                    std::uint32_t rx = 4096);
  std::unique_ptr<CardClient> open(std::uint32_t tx = 4096,
                                   std::uint32_t rx = 4096) {
    return start(offer(), tx, rx);
  }
  std::uint64_t lastId() const { return lastId_; }

  int memory() const { return memory_.get(); }

  Descriptor doorbell, interrupt;  // of the last offer

 private:
  void sendOffer();

  Descriptor socket_;
  Descriptor memory_;
  std::uint64_t cardBytes_;
  std::uint64_t lastId_ = 0;
};

// A memfd; sealed as card memory has to be, or not.
Descriptor makeMemory(std::uint64_t bytes, bool sealed = true);

}  // namespace lanecall::test

#endif
