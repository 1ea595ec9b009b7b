// SPDX-License-Identifier: Apache-2.0
// The engine where it meets PCI and QEMU: kinds of interrupts and buses, memory
// above 4 GiB, properties, and floods of accesses.
#include <linux/pci_regs.h>

#include <cstring>

#include "../seed.h"
#include "contract.h"
#include "qemu_device.h"

namespace lanecall::test {
namespace {

class Engine : public Contract {
 protected:
  QemuDevice& start(
      QemuOptions options = {}, DeviceOptions device = {},
      QemuDevice::Interrupts interrupts = QemuDevice::Interrupts::kMsix) {
    listen();
    device.rpc = server().rpc();
    options.arguments.insert(
        options.arguments.end(),
        {"-device", QemuDevice::argument(device) + ",id=dut,addr=4.0"});
    auto made = std::make_unique<QemuDevice>(std::make_shared<Qemu>(options),
                                             PciPlace{}, interrupts);
    dut_ = made.get();
    use(std::move(made));
    enableEngine(*dut_);
    return *dut_;
  }
  Qemu& qemu() { return dut_->qemu(); }
  PciFunction& function() { return dut_->function(); }

  QemuDevice* dut_ = nullptr;
};

TEST_F(Engine, WithMsiEveryChannelRaisesTheOneVector) {
  start({}, {.channels = 4}, QemuDevice::Interrupts::kMsi);
  UserChannel channel(device(), {.channel = 2, .vector = 3});
  channel.open();
  EXPECT_TRUE(device().waitInterrupt(0, soon()));
  EXPECT_FALSE(device().interrupted(3));
  ASSERT_TRUE(eventually([&] { return channel.status() == LANECALL_READY; }));
  channel.command(LANECALL_CMD_CLOSE);
  ASSERT_TRUE(eventually([&] { return channel.status() == 0; }));
}

TEST_F(Engine, WithNeitherMsixNorMsiInterruptsAreLostAndBytesAreNot) {
  start({}, {.channels = 4}, QemuDevice::Interrupts::kNone);
  qemu().qtest("irq_intercept_in ioapic");
  UserChannel channel(device());
  const auto reaches = [&](uint32_t state) {
    return eventually([&] { return channel.status() == state; });
  };
  channel.open();
  ASSERT_TRUE(reaches(LANECALL_READY));
  channel.attach();
  ASSERT_TRUE(reaches(LANECALL_RUNNING));
  channel.tryWrite(someBytes(100));
  EXPECT_EQ(server().accept(soon())->receive(100, soon()), someBytes(100));
  ASSERT_TRUE(channel.waitFor(LANECALL_ENDED, Deadline::in(1)) ||
              reaches(LANECALL_ENDED));
  for (unsigned pin = 16; pin < 24; ++pin) EXPECT_FALSE(qemu().irqLevel(pin));
  channel.command(LANECALL_CMD_CLOSE);
  ASSERT_TRUE(reaches(LANECALL_CLOSED));
}

TEST_F(Engine, MaskedVectorIsPendingUntilItIsUnmasked) {
  start();
  Call c = call({.channel = 0, .vector = 5});
  const auto cap = *function().capability(PCI_CAP_ID_MSIX);
  const uint64_t table = function().config(cap + PCI_MSIX_TABLE) & ~7u;
  const uint64_t pending = function().config(cap + PCI_MSIX_PBA) & ~7u;
  const uint64_t control =
      table + 5 * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
  while (device().interrupted(5)) {
  }
  function().write(LANECALL_BAR_MSIX, control, 4, 1);
  c.peer.close();
  ASSERT_TRUE(eventually([&] { return c->state() == LANECALL_ENDED; }));
  EXPECT_EQ(function().read(LANECALL_BAR_MSIX, pending, 4), 1u << 5);
  EXPECT_FALSE(device().interrupted(5));
  function().write(LANECALL_BAR_MSIX, control, 4, 0);
  EXPECT_TRUE(device().waitInterrupt(5, soon()));
}

TEST_F(Engine, WithoutBusMasteringMemoryIsOutOfReach) {
  start();
  Call c = call();
  ASSERT_TRUE(works(c));
  function().setConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
  while (device().interrupted(c->vector())) {
  }
  c->tryWrite(someBytes(10));
  c->doorbell();
  const uint32_t dma = LANECALL_STATUS_WORD(LANECALL_ENDED, LANECALL_ERR_DMA);
  EXPECT_TRUE(eventually([&] { return c->statusRegister() == dma; }));
  EXPECT_EQ(c->status(), uint32_t{LANECALL_RUNNING});
  EXPECT_FALSE(device().interrupted(c->vector()));
  EXPECT_TRUE(c.peer.waitEnd(soon()));
  function().enable();
  ASSERT_TRUE(c->close(soon()));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_F(Engine, OnAConventionalBusIsAConventionalDevice) {
  start({.machine = "pc"});
  EXPECT_FALSE(function().capability(PCI_CAP_ID_EXP));
  EXPECT_TRUE(function().capability(PCI_CAP_ID_MSIX));
  Call c = call();
  EXPECT_TRUE(works(c));
}

// Pages above 4 GiB, in RAM whose upper part q35 puts there.
TEST_F(Engine, UsesMemoryAbove4GiB) {
  constexpr size_t kLow = size_t{2} << 30;  // of q35, with that much RAM
  start({.memory_bytes = size_t{4} << 30});
  const uint64_t four_gib = uint64_t{1} << 32;
  auto* high = device().memory().at(kLow, 1 << 20);
  auto& page = *reinterpret_cast<lanecall_index_page*>(high);
  unsigned char* tx = high + 0x10000;
  unsigned char* rx = high + 0x20000;
  auto* table = reinterpret_cast<uint64_t*>(high + 0x30000);
  table[0] = four_gib + 0x10000;
  table[1] = four_gib + 0x20000;

  UserChannel channel(device(), {.tx_shift = 12, .rx_shift = 12});
  channel.writeControl64(LANECALL_CH_INDEX_LO, four_gib);
  channel.writeControl(LANECALL_CH_VECTOR, 1);
  channel.command(LANECALL_CMD_OPEN);
  const auto reaches = [&](uint32_t state) {
    return eventually([&] { return lanecall_get32(&page.status) == state; });
  };
  ASSERT_TRUE(reaches(LANECALL_READY));
  channel.writeControl64(LANECALL_CH_TX_TABLE_LO, four_gib + 0x30000);
  channel.writeControl64(LANECALL_CH_RX_TABLE_LO, four_gib + 0x30008);
  channel.writeControl(LANECALL_CH_TX_SHIFT, 12);
  channel.writeControl(LANECALL_CH_RX_SHIFT, 12);
  channel.writeControl(LANECALL_CH_PAGE_SHIFT, 12);
  channel.command(LANECALL_CMD_ATTACH);
  ASSERT_TRUE(reaches(LANECALL_RUNNING));
  Peer peer = *server().accept(soon());

  const Bytes bytes = someBytes(4096);
  std::memcpy(tx, bytes.data(), bytes.size());
  lanecall_put32(&page.tx_producer.head, 4096);
  lanecall_mb();
  channel.doorbell();
  EXPECT_EQ(peer.receive(4096, soon()), bytes);
  ASSERT_TRUE(peer.send(bytes, soon()));
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&page.rx_producer.head) == 4096; }));
  EXPECT_EQ(std::memcmp(rx, bytes.data(), bytes.size()), 0);
  channel.command(LANECALL_CMD_CLOSE);
  ASSERT_TRUE(reaches(LANECALL_CLOSED));
}

// 4 GiB and more through one ring, so that 32-bit indices wrap.
TEST_F(Engine, IndicesWrapAfter4GiB) {
  start();
  Call c = call({.tx_shift = 23});
  // The ring's bytes are what they are; only their number counts here.
  const uint64_t total = (uint64_t{1} << 32) + (uint64_t{64} << 20);
  uint64_t published = 0, received = 0;
  Bytes sink(1 << 20);
  while (received < total) {
    const __s64 space = lanecall_ring_space(&c->txIndices());
    ASSERT_GE(space, 0);
    if (space > 0) {
      published += static_cast<uint64_t>(space);
      if (lanecall_ring_publish(&c->txIndices(),
                                static_cast<uint32_t>(space))) {
        c->doorbell();
      }
    }
    const size_t n = c.peer.receiveSome(sink, soon());
    ASSERT_GT(n, 0u);
    received += n;
  }
  EXPECT_GE(received, total);
  EXPECT_LE(received, published);
  EXPECT_EQ(c->txIndices().own, static_cast<uint32_t>(published));
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});
}

// ---- Properties
// ----------------------------------------------------------------

struct BadProperty {
  const char* name;
  const char* device;
  const char* named;  // what the message must name
};
class Properties : public ::testing::TestWithParam<BadProperty> {};

TEST_P(Properties, BadOnesAreRefusedWithAMessageThatNamesThem) {
  const Refusal refusal =
      runUntilExit({"-device", GetParam().device}, Deadline::in(20000));
  EXPECT_EQ(refusal.status, 1) << refusal.said;
  EXPECT_NE(refusal.said.find(GetParam().named), std::string::npos)
      << refusal.said;
  EXPECT_LE(std::count(refusal.said.begin(), refusal.said.end(), '\n'), 1)
      << refusal.said;
}

const std::string kLongPath = "edu,rpc=unix:/" + std::string(200, 'x');
const std::string kLongCardPath = "edu,card=unix:/" + std::string(200, 'x');
INSTANTIATE_TEST_SUITE_P(
    Of, Properties,
    ::testing::Values(
        BadProperty{"EmptyRpc", "edu,rpc=", "rpc="},
        BadProperty{"NoScheme", "edu,rpc=/run/server.sock", "rpc="},
        BadProperty{"UnknownScheme", "edu,rpc=vsock:2:1234", "rpc="},
        BadProperty{"UnixWithoutPath", "edu,rpc=unix:", "rpc="},
        BadProperty{"UnixPathTooLong", kLongPath.c_str(), "rpc="},
        BadProperty{"TcpWithoutPort", "edu,rpc=tcp:127.0.0.1", "rpc="},
        BadProperty{"TcpEmptyPort", "edu,rpc=tcp:127.0.0.1:", "rpc="},
        BadProperty{"TcpEmptyHost", "edu,rpc=tcp::1234", "rpc="},
        BadProperty{"TcpPortTooLarge", "edu,rpc=tcp:127.0.0.1:65536", "rpc="},
        BadProperty{"TcpPortZero", "edu,rpc=tcp:127.0.0.1:0", "rpc="},
        BadProperty{"TcpPortNegative", "edu,rpc=tcp:127.0.0.1:-1", "rpc="},
        BadProperty{"TcpNoNumber", "edu,rpc=tcp:127.0.0.1:12x", "rpc="},
        BadProperty{"NoChannels", "edu,rpc=unix:/s,channels=0", "channels=0"},
        BadProperty{"TooManyChannels", "edu,rpc=unix:/s,channels=257",
                    "channels=257"},
        BadProperty{"TooManyVectors", "edu,rpc=unix:/s,vectors=258",
                    "vectors=258"},
        BadProperty{"EmptyCard", "edu,card=", "card="},
        BadProperty{"CardByTcp", "edu,card=tcp:127.0.0.1:1", "card=tcp"},
        BadProperty{"CardPathTooLong", kLongCardPath.c_str(), "card="},
        BadProperty{"CardMemoryOfOddSize", "edu,card=unix:/s,card-memory=3M",
                    "card-memory=3145728"},
        BadProperty{"CardMemoryTooSmall", "edu,card=unix:/s,card-memory=512K",
                    "card-memory=524288"},
        BadProperty{"CardMemoryTooLarge",
                    "edu,card=unix:/s,card-memory=4611686018427387904",
                    "card-memory=4611686018427387904"}),
    [](const auto& info) { return info.param.name; });

TEST_F(Engine, CannotBeMigratedAndSaysWhy) {
  start();
  const std::string answer = qemu().qmp(
      R"({"execute": "migrate", "arguments": {"uri": "unix:/nonexistent"}})");
  EXPECT_NE(answer.find("\"error\""), std::string::npos) << answer;
  EXPECT_NE(answer.find("cannot be migrated"), std::string::npos) << answer;
}

TEST_F(Engine, StockDeviceDoesNotBlockMigration) {
  Qemu qemu({{"-device", "edu"}});
  const std::string answer = qemu.qmp(R"({"execute": "query-migrate"})");
  EXPECT_EQ(answer.find("blocked-reasons"), std::string::npos) << answer;
}

// ---- Floods
// ----------------------------------------------------------------------

TEST_F(Engine, DoorbellStormDoesNotKeepOtherChannelsFromWorking) {
  start();
  Call stormy = call({.channel = 0}), calm = call({.channel = 1});
  const Geometry g(device());
  const std::string ring =
      "writel " +
      std::to_string(function().barAddress(LANECALL_BAR_REGS) + g.doorbell(0)) +
      " 1";
  for (int i = 0; i < 10; ++i) {
    qemu().qtestAll(std::vector<std::string>(5000, ring));
    ASSERT_TRUE(works(calm));
  }
  EXPECT_TRUE(works(stormy));
  EXPECT_EQ(guestErrors(), 0u);
}

// Everywhere a guest can write: the classic edu, the MSI-X table, registers,
// doorbells. MSI-X messages go to RAM only, so that a write stays a write.
TEST_F(Engine, HundredsOfThousandsOfRandomWritesDoNotKillQemu) {
  start({}, {.channels = 8});
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937_64 random(seed);
  const Geometry g(device());
  const uint64_t regs = function().barAddress(LANECALL_BAR_REGS);
  const uint64_t edu = function().barAddress(0);
  const char* letters = "bwlq";
  const auto value = [&]() -> uint64_t {
    switch (random() % 6) {
      case 0:
        return random() % 8;
      case 1:
        return 0x1000000 + random() % 4096 * 4096;
      case 2:
        return 12 + random() % 12;
      case 3:
        return random();
      case 4:
        return 0x40000 + random() % 8192;
      default:
        return 0;
    }
  };
  const auto place = [&]() -> uint64_t {
    const unsigned n = static_cast<unsigned>(random() % g.channels);
    switch (random() % 8) {
      case 0:
        return regs + g.doorbell(n) + random() % 2 * 4;
      case 1:
        return regs + random() % 0x80;
      case 2:
        return edu + random() % 0xa0;
      case 3:
        return regs + random() % g.doorbell(g.channels);
      default:
        return regs + g.control(n) + random() % 16 * 4;
    }
  };
  for (int batch = 0; batch < 20; ++batch) {
    std::vector<std::string> commands;
    for (int i = 0; i < 15000; ++i) {
      const char width = random() % 4 ? 'l' : letters[random() % 4];
      if (random() % 16 == 0) {
        commands.push_back("writel " +
                           std::to_string(regs + LANECALL_REG_CONTROL) + " 1");
      }
      commands.push_back(std::string(random() % 4 ? "write" : "read") + width +
                         " " + std::to_string(place()));
      if (commands.back()[0] == 'w') {
        commands.back() += " " + std::to_string(value());
      }
    }
    qemu().qtestAll(commands);
    qemu().clockStep(100'000'000);
    server().discardPending();
    ASSERT_TRUE(qemu().alive()) << qemu().said();
  }
  device().write32(LANECALL_REG_CONTROL, 0);
  server().discardPending();
  enableEngine(device());
  Call c = call({.channel = 7});
  EXPECT_TRUE(works(c));
}

}  // namespace
}  // namespace lanecall::test
