// SPDX-License-Identifier: Apache-2.0
// device_fuzz OPERATIONS: a hostile driver and hostile servers around QEMU's
// device, over qtest. From time to time the device is reset and must then carry
// a good channel's bytes; QEMU must neither end, nor hang, nor write to memory
// that was not given to the device. LANECALL_SEED repeats a run (but for what
// QEMU's own threads do meanwhile), LANECALL_QEMU is the QEMU.
#include <lanecall/proxy.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "../../seed.h"
#include "hostile_guest.h"
#include "hostile_servers.h"

namespace lanecall::test {
namespace {

constexpr uint64_t kOperationsToCheck = 20'000;
// In each QEMU. Half of them have the server at a Unix socket, half by TCP and
// with headers that say who opens a channel.
constexpr uint64_t kOperationsOfRound = 250'000;
constexpr int kPatienceMs = 60'000;
constexpr unsigned kGoodChannel = HostileGuest::kChannels + 1;

// The device behind a root port whose slot can be powered off.
constexpr unsigned kBus = 1;
constexpr unsigned kPortSlot = 5;
constexpr uint32_t kWindow = 0xc8000000;
constexpr PciPlace kPlace = {.bus = kBus,
                             .slot = 0,
                             .bars = kWindow,
                             .bar2 = kWindow + (64 << 20),
                             .bar4 = 0xa00000000};

std::shared_ptr<Qemu> startQemu(const DeviceOptions& options,
                                const std::string& more) {
  auto qemu = std::make_shared<Qemu>(QemuOptions{
      {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
       "-device",
       "pcie-root-port,id=rp,chassis=1,slot=1,addr=5.0,pref64-reserve=64M",
       "-device", QemuDevice::argument(options) + more + ",id=dut,bus=rp"}});
  PciFunction port(*qemu, 0, kPortSlot);
  setUpRootPort(port, kBus, kWindow, 128 << 20);
  setPrefetchableWindow(port, kPlace.bar4, uint64_t{64} << 20);
  return qemu;
}

void receive(const Descriptor& from, std::span<uint8_t> bytes) {
  if (::recv(from.get(), bytes.data(), bytes.size(), MSG_WAITALL) !=
      static_cast<ssize_t>(bytes.size()))
    throw std::runtime_error("a good channel's bytes do not arrive");
}

class Round {
 public:
  Round(Random& random, Family family)
      : random_(random),
        saysWho_(family == Family::kTcp),
        sockets_(family, dir_, random),
        card_(dir_, random),
        device_(startQemu({.rpc = sockets_.rpc(),
                           .channels = 16,
                           .card = card_.card(),
                           .card_memory = uint64_t{32} << 20},
                          saysWho_ ? ",proxy=on" : ""),
                kPlace),
        guest_(device_, random_) {}

  void run(uint64_t operations) {
    for (uint64_t done = 0; done < operations; ++done) {
      if (done % kOperationsToCheck == 0) check();
      switch (random_.below(8)) {
        case 0:
          sockets_.act();
          break;
        case 1:
        case 2:
          card_.act();
          break;
        default:
          guest_.act();
      }
    }
    removeByPower();
    device_.qemu().quit();
  }

 private:
  // A surprise to the device, whatever is under way.
  void removeByPower() {
    guest_.flush();
    PciFunction port(device_.qemu(), 0, kPortSlot);
    const auto slot = *port.capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL;
    port.setConfig(slot, 2,
                   PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF);
    const Deadline deadline = Deadline::in(kPatienceMs);
    if (!device_.qemu().waitEvent("DEVICE_DELETED", deadline))
      throw std::runtime_error("the device does not go");
    if (!guest_.isCanaryWhole())
      throw std::runtime_error("memory that was not the device's was written");
  }

  void check() {
    guest_.reset();
    sockets_.reset();  // now that nobody connects any more
    card_.reset();
    if (!guest_.isCanaryWhole())
      throw std::runtime_error("memory that was not the device's was written");
    carryBytes();
    guest_.reset();
    enableEngine(device_, 7);
  }

  // Over the socket, both ways; in a channel that nobody spoils.
  void carryBytes() {
    enableEngine(device_);
    UserChannel channel(device_, {.channel = kGoodChannel});
    if (!channel.start(Deadline::in(kPatienceMs)))
      throw std::runtime_error("a good channel does not open");
    const Descriptor server = sockets_.accept();
    Bytes sent(10'000);
    random_.fill(sent);
    if (!channel.write(sent, Deadline::in(kPatienceMs)))
      throw std::runtime_error("a good channel does not take bytes");
    if (saysWho_) receiveHeader(server);
    Bytes heard(sent.size());
    receive(server, heard);
    if (heard != sent)
      throw std::runtime_error("a good channel's bytes are others");
    if (::send(server.get(), sent.data(), sent.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(sent.size()) ||
        channel.read(sent.size(), Deadline::in(kPatienceMs)) != sent)
      throw std::runtime_error("a good channel's answer does not arrive");
    if (!channel.close(Deadline::in(kPatienceMs)))
      throw std::runtime_error("a good channel does not close");
  }

  static void receiveHeader(const Descriptor& from) {
    lanecall_proxy_header header;
    receive(from, {reinterpret_cast<uint8_t*>(&header), sizeof header});
    if (std::memcmp(header.signature, LANECALL_PROXY_SIGNATURE,
                    LANECALL_PROXY_SIGNATURE_BYTES) != 0)
      throw std::runtime_error("a good channel does not say who opened it");
    Bytes fields(std::size_t{header.bytes[0]} << 8 | header.bytes[1]);
    receive(from, fields);
  }

  const TempDir dir_;
  Random& random_;
  const bool saysWho_;
  HostileSocketServer sockets_;
  HostileCardServer card_;
  QemuDevice device_;
  HostileGuest guest_;
};

}  // namespace
}  // namespace lanecall::test

int main(int argc, char** argv) try {
  using namespace lanecall;
  if (argc != 2) {
    std::fprintf(stderr, "usage: device_fuzz OPERATIONS\n");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  // Of a QEMU that has them; leaks are no fault of a process that ends.
  ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  ::setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", 0);
  Random random(test::announcedSeed());
  std::uint64_t left = std::strtoull(argv[1], nullptr, 0);
  for (bool isTcp = false; left > 0; isTcp = !isTcp) {
    const std::uint64_t now = std::min(left, test::kOperationsOfRound);
    test::Round(random, isTcp ? test::Family::kTcp : test::Family::kUnix)
        .run(now);
    left -= now;
  }
  std::printf("done\n");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "device_fuzz: %s\n", error.what());
  return 1;
}
