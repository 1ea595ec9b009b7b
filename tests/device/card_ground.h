// SPDX-License-Identifier: Apache-2.0
// The ground of the tests of card memory and the card port: a device with both,
// a server of the test's own behind it, and short words for what they do often.
#ifndef LANECALL_TESTS_CARD_GROUND_H
#define LANECALL_TESTS_CARD_GROUND_H

#include <signal.h>
#include <sys/wait.h>

#include <memory>
#include <string>
#include <vector>

#include "card_server.h"
#include "contract.h"
#include "qemu_device.h"
#include "virtio_iommu.h"

namespace lanecall::test {

// A channel as OFFER tells of it.
struct CardOffer {
  uint64_t id = 0;
  uint32_t number = 0;
  Descriptor doorbell{}, interrupt{};

  // Has it been rung since this was last asked? Waits for it.
  bool rung(const Deadline& deadline);
  void interruptDriver();
};

// Three places that no other n has, for rings of at most 64 KiB.
lanecall_places placesOf(unsigned n);

// A channel whose rings are in card memory, RUNNING, and both its ends.
struct DirectCall {
  std::unique_ptr<UserChannel> channel;
  CardOffer offer;
  lanecall_places places{};
  unsigned char* memory = nullptr;
  lanecall_ring tx{}, rx{};  // the server's: consumer of TX, producer of RX

  UserChannel* operator->() { return channel.get(); }
  UserChannel& operator*() { return *channel; }
};

class CardGround : public Contract {
 protected:
  struct Options {
    bool rpc = false;  // a socket's server, too
    unsigned channels = 64;
    uint64_t card_memory = uint64_t{64} << 20;
  };

  // All of -device, without its id and place.
  std::string argument(const Options& options);
  QemuDevice& start() { return start(Options()); }
  QemuDevice& start(const Options& options);
  // The device below a root port (bus 0, slot 5), which is returned. more:
  // words for QEMU that come first.
  PciFunction startBelowRootPort(std::vector<std::string> more = {});
  // The device, started and enabled; all its DMA is the IOMMU's to translate.
  std::unique_ptr<VirtioIommu> startBehindIommu();
  // Accepts whatever features the device offers.
  void enable();
  QemuDevice& dut() { return *dut_; }
  Qemu& qemu() { return dut_->qemu(); }
  void useQemuDevice(std::unique_ptr<QemuDevice> device);

  // The device's session; begun when it is first needed, and after its end
  // when a channel has been opened. With these of the device's features.
  uint64_t features_ = 0;
  CardSession& session();
  void endSession() { session_.reset(); }
  CardFrame expectFrame(uint32_t type, uint64_t id = 0);
  ::testing::AssertionResult sessionEnds();
  ::testing::AssertionResult sessionLives();

  // Each throws if it does not come about.
  std::unique_ptr<UserChannel> openInCard(ChannelOptions options = {});
  CardOffer offered();
  struct Accepted {
    std::unique_ptr<UserChannel> channel;
    CardOffer offer;
  };
  Accepted accepted(ChannelOptions options = {});  // READY
  DirectCall direct(ChannelOptions options = {});
  DirectCall direct(ChannelOptions options, const lanecall_places& places);

  // The word is in memory and in the register; a word with IN_CARD.
  ::testing::AssertionResult endsInCard(UserChannel& channel, uint32_t error);
  ::testing::AssertionResult reaches(UserChannel& channel, uint32_t word);
  ::testing::AssertionResult moves(DirectCall& call);
  size_t descriptorsOfQemu();

  // What is sent meanwhile, QEMU finds all at once.
  template <typename Send>
  void whileStopped(Send send) {
    const pid_t pid = qemu().pid();
    siginfo_t info;
    kill(pid, SIGSTOP);
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED), 0);
    send();
    kill(pid, SIGCONT);
  }

  CardServer card_{dir_};

 private:
  std::optional<CardSession> session_;
  QemuDevice* dut_ = nullptr;
};

}  // namespace lanecall::test

#endif
