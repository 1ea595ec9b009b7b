// SPDX-License-Identifier: Apache-2.0
// OPEN and ATTACH: connections that come about and that do not, and every bad
// value that a driver can give.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "contract.h"

namespace lanecall::test {
namespace {

// Root may connect to any socket; from here on this process, and QEMU that it
// starts, may not.
void giveUpOverridingPermissions() {
  prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return;
  data[0].effective &= ~(1u << CAP_DAC_OVERRIDE);
  data[0].permitted &= ~(1u << CAP_DAC_OVERRIDE);
  syscall(SYS_capset, &header, data);
}

rlim_t firstFreeDescriptor(pid_t pid) {
  const std::string open = "/proc/" + std::to_string(pid) + "/fd/";
  rlim_t n = 0;
  while (std::filesystem::is_symlink(open + std::to_string(n))) ++n;
  return n;
}

// Without a server: the address is all there is.
class Open : public Contract {
 protected:
  void beginWithout(const std::string& rpc) {
    beginAt(rpc);
    enableEngine(device());
  }
};

TEST_F(Open, NobodyAtTheUnixAddressIsRefused) {
  beginWithout("unix:" + dir_.file("nobody.sock"));
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_REFUSED));
}

TEST_F(Open, UnixAddressLeftBehindByAServerIsRefused) {
  begin();
  server().stopListening();
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_REFUSED));
}

TEST_F(Open, NobodyAtTheTcpPortIsRefused) {
  begin(Family::kTcp);
  server().stopListening();
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_REFUSED));
}

TEST_F(Open, AddressWithNoWayToItIsUnreachable) {
  beginWithout("tcp:255.255.255.255:1");  // TCP does not go to a broadcast
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_UNREACHABLE));
}

TEST_F(Open, AddressThatTheHostForbidsIsAccess) {
  giveUpOverridingPermissions();
  begin();
  ASSERT_EQ(chmod(dir_.file("server.sock").c_str(), 0), 0);
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_ACCESS));
}

TEST_F(Open, HostOutOfDescriptorsIsResources) {
  begin();
  UserChannel channel(device());
  rlimit before;
  ASSERT_EQ(prlimit(device().host(), RLIMIT_NOFILE, nullptr, &before), 0);
  // Those that are open go on; the next is one too many.
  const rlimit none{firstFreeDescriptor(device().host()), before.rlim_max};
  ASSERT_EQ(prlimit(device().host(), RLIMIT_NOFILE, &none, nullptr), 0);
  channel.open();
  ASSERT_EQ(prlimit(device().host(), RLIMIT_NOFILE, &before, nullptr), 0);
  EXPECT_TRUE(endsWith(channel, LANECALL_ERR_RESOURCES));
  ASSERT_TRUE(channel.close(soon()));
  EXPECT_TRUE(worksAnew(channel));
}

TEST_F(Open, AddressOfAnotherKindOfSocketIsIo) {
  const std::string path = dir_.file("datagram.sock");
  Descriptor other(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(
      bind(other.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
      0);
  beginWithout("unix:" + path);
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_IO));
}

TEST_F(Open, ServerThatComesLaterIsFound) {
  beginWithout("unix:" + dir_.file("server.sock"));
  auto channel = opened();
  ASSERT_TRUE(endsWith(*channel, LANECALL_ERR_REFUSED));
  ASSERT_TRUE(channel->close(soon()));
  TestServer late(Family::kUnix, dir_);
  channel->clear();
  ASSERT_TRUE(channel->start(soon()));
  EXPECT_TRUE(late.accept(soon()));
}

class OpenBusy : public ContractOnSockets {};

INSTANTIATE_TEST_SUITE_P(Over, OpenBusy, sockets(),
                         ::testing::PrintToStringParamName());

TEST_P(OpenBusy, ServerLeavesTheChannelConnectingUntilItAccepts) {
  begin(GetParam(), {}, 0);
  Descriptor in_the_way = server().fillQueue();
  UserChannel channel(device());
  channel.open();
  ASSERT_EQ(channel.status(), uint32_t{LANECALL_CONNECTING});
  EXPECT_EQ(channel.statusRegister(), uint32_t{LANECALL_CONNECTING});
  server().discardPending();
  EXPECT_EQ(channel.waitWhile(LANECALL_CONNECTING, soon()), LANECALL_READY);
  EXPECT_TRUE(server().accept(soon()));
}

TEST_P(OpenBusy, ServerDoesNotKeepTheChannelFromClosing) {
  begin(GetParam(), {}, 0);
  Descriptor in_the_way = server().fillQueue();
  UserChannel channel(device());
  channel.open();
  ASSERT_EQ(channel.status(), uint32_t{LANECALL_CONNECTING});
  ASSERT_TRUE(channel.close(soon()));
  EXPECT_TRUE(worksAnew(channel));
}

TEST_F(Open, EveryChangeOfStateRaisesTheChannelsVector) {
  begin();
  UserChannel channel(device(), {.channel = 2, .vector = 7});
  const auto raised = [&] { return device().waitInterrupt(7, soon()); };
  channel.open();
  EXPECT_TRUE(raised());
  ASSERT_TRUE(channel.waitFor(LANECALL_READY, soon()));
  device().interrupted(7);
  channel.attach();
  EXPECT_TRUE(raised());
  ASSERT_TRUE(channel.waitFor(LANECALL_RUNNING, soon()));
  device().interrupted(7);
  server().accept(soon())->close();
  EXPECT_TRUE(raised());
  ASSERT_TRUE(channel.waitFor(LANECALL_ENDED, soon()));
  device().interrupted(7);
  channel.command(LANECALL_CMD_CLOSE);
  EXPECT_TRUE(raised());
  for (unsigned other : {0u, 1u, 2u, 3u, 6u, 8u}) {
    EXPECT_FALSE(device().interrupted(other)) << other;
  }
}

TEST_F(Open, ChannelsMayShareAVector) {
  begin();
  Call a = call({.channel = 0, .vector = 5});
  Call b = call({.channel = 1, .vector = 5});
  EXPECT_TRUE(works(a));
  EXPECT_TRUE(works(b));
}

TEST_F(Open, VectorIsTakenAtOpen) {
  begin();
  auto channel = ready({.channel = 0, .vector = 5});
  channel->writeControl(LANECALL_CH_VECTOR, 6);
  channel->attach();
  EXPECT_TRUE(channel->waitFor(LANECALL_RUNNING, soon()));  // waits on 5
  EXPECT_FALSE(device().interrupted(6));
}

TEST_F(Open, VectorThatIsNotThereIsRefused) {
  begin(Family::kUnix, {.channels = 2, .vectors = 2});
  UserChannel channel(device());
  channel.writeControl64(LANECALL_CH_INDEX_LO, channel.indexAddress());
  channel.writeControl(LANECALL_CH_VECTOR, 2);
  channel.command(LANECALL_CMD_OPEN);
  EXPECT_EQ(channel.statusRegister(),
            LANECALL_STATUS_WORD(LANECALL_ENDED, LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(channel.status(), channel.statusRegister());
}

TEST_F(Open, FlagsThatAreNotOfferedAreRefused) {
  begin();
  UserChannel channel(device());
  for (uint32_t flags : {1u, 2u, 4u, 0x80000000u}) {
    channel.clear();
    channel.writeControl64(LANECALL_CH_INDEX_LO, channel.indexAddress());
    channel.writeControl(LANECALL_CH_VECTOR, channel.vector());
    channel.writeControl(LANECALL_CH_FLAGS, flags);
    channel.command(LANECALL_CMD_OPEN);
    EXPECT_TRUE(endsWith(channel, LANECALL_ERR_PROTOCOL)) << flags;
    ASSERT_TRUE(channel.close(soon()));
  }
  channel.writeControl(LANECALL_CH_FLAGS, 0);
  EXPECT_TRUE(worksAnew(channel));
}

// A bad index page is told by the register alone.
class IndexPage : public Open {
 protected:
  void openWith(UserChannel& channel, uint64_t index) {
    while (device().interrupted(channel.vector())) {
    }
    channel.writeControl64(LANECALL_CH_INDEX_LO, index);
    channel.writeControl(LANECALL_CH_VECTOR, channel.vector());
    channel.command(LANECALL_CMD_OPEN);
    EXPECT_TRUE(device().waitInterrupt(channel.vector(), soon()));
  }
  void expectRefused(UserChannel& channel, uint32_t error) {
    EXPECT_TRUE(eventually([&] {
      return channel.statusRegister() ==
             LANECALL_STATUS_WORD(LANECALL_ENDED, error);
    })) << channel.statusRegister();
    channel.command(LANECALL_CMD_CLOSE);
    EXPECT_TRUE(eventually([&] { return channel.statusRegister() == 0; }));
  }
};

TEST_F(IndexPage, ThatIsNotMemoryIsRefused) {
  begin();
  UserChannel channel(device());
  for (uint64_t bad : device().notMemory()) {
    SCOPED_TRACE(testing::Message() << std::hex << bad);
    openWith(channel, bad);
    expectRefused(channel, LANECALL_ERR_DMA);
  }
  EXPECT_TRUE(worksAnew(channel));
}

TEST_F(IndexPage, ThatIsNotAlignedIsRefused) {
  begin();
  UserChannel channel(device());
  GuestBlock two_pages(device().memory(), 8192);
  for (unsigned off : {1u, 4u, 128u, 2048u}) {
    openWith(channel, two_pages.address() + off);
    expectRefused(channel, LANECALL_ERR_PROTOCOL);
  }
  for (unsigned char b : Bytes(two_pages.data(), two_pages.data() + 8192)) {
    ASSERT_EQ(b, 0);  // nothing was written there
  }
}

// ---- ATTACH ----------------------------------------------------------------

using test::PrintTo;  // gtest looks in this namespace only

struct BadValue {
  const char* name;
  uint32_t offset;
  uint32_t value;
};

class AttachValues : public Contract,
                     public ::testing::WithParamInterface<BadValue> {};

TEST_P(AttachValues, OutOfRangeIsAProtocolError) {
  begin();
  auto channel = ready();
  channel->writeControl64(LANECALL_CH_TX_TABLE_LO, channel->tx().table());
  channel->writeControl64(LANECALL_CH_RX_TABLE_LO, channel->rx().table());
  channel->writeControl(LANECALL_CH_TX_SHIFT, 16);
  channel->writeControl(LANECALL_CH_RX_SHIFT, 16);
  channel->writeControl(LANECALL_CH_PAGE_SHIFT, 12);
  channel->writeControl(GetParam().offset, GetParam().value);
  channel->command(LANECALL_CMD_ATTACH);
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(guestErrors(), 1u);
  EXPECT_TRUE(server().accept(soon())->waitEnd(soon()));
  ASSERT_TRUE(channel->close(soon()));
  EXPECT_TRUE(worksAnew(*channel));
}

INSTANTIATE_TEST_SUITE_P(
    Of, AttachValues,
    ::testing::Values(BadValue{"TxShift0", LANECALL_CH_TX_SHIFT, 0},
                      BadValue{"TxShift11", LANECALL_CH_TX_SHIFT, 11},
                      BadValue{"TxShift24", LANECALL_CH_TX_SHIFT, 24},
                      BadValue{"TxShift32", LANECALL_CH_TX_SHIFT, 32},
                      BadValue{"TxShift48", LANECALL_CH_TX_SHIFT, 0x10010},
                      BadValue{"RxShift0", LANECALL_CH_RX_SHIFT, 0},
                      BadValue{"RxShift11", LANECALL_CH_RX_SHIFT, 11},
                      BadValue{"RxShift24", LANECALL_CH_RX_SHIFT, 24},
                      BadValue{"RxShiftAll", LANECALL_CH_RX_SHIFT, ~0u},
                      BadValue{"PageShift0", LANECALL_CH_PAGE_SHIFT, 0},
                      BadValue{"PageShift11", LANECALL_CH_PAGE_SHIFT, 11},
                      BadValue{"PageShift17", LANECALL_CH_PAGE_SHIFT, 17},
                      BadValue{"PageShift64", LANECALL_CH_PAGE_SHIFT, 64}),
    [](const auto& info) { return info.param.name; });

// TX's table or RX's.
class AttachTable : public Contract,
                    public ::testing::WithParamInterface<bool> {
 protected:
  uint32_t tableRegister() const {
    return GetParam() ? LANECALL_CH_RX_TABLE_LO : LANECALL_CH_TX_TABLE_LO;
  }
  UserRing& ring(UserChannel& c) const { return GetParam() ? c.rx() : c.tx(); }

  void attachWithTable(UserChannel& channel, uint64_t table) {
    channel.writeControl64(LANECALL_CH_TX_TABLE_LO, channel.tx().table());
    channel.writeControl64(LANECALL_CH_RX_TABLE_LO, channel.rx().table());
    channel.writeControl(LANECALL_CH_TX_SHIFT, channel.tx().shift());
    channel.writeControl(LANECALL_CH_RX_SHIFT, channel.rx().shift());
    channel.writeControl(LANECALL_CH_PAGE_SHIFT, 12);
    channel.writeControl64(tableRegister(), table);
    channel.command(LANECALL_CMD_ATTACH);
  }
};

INSTANTIATE_TEST_SUITE_P(Of, AttachTable, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Rx" : "Tx";
                         });

TEST_P(AttachTable, ThatIsNotMemoryIsADmaError) {
  begin();
  for (uint64_t bad : device().notMemory()) {
    SCOPED_TRACE(testing::Message() << std::hex << bad);
    auto channel = ready();
    attachWithTable(*channel, bad);
    EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_DMA));
    EXPECT_TRUE(server().accept(soon())->waitEnd(soon()));
  }
}

TEST_P(AttachTable, ThatRunsOutOfMemoryIsADmaError) {
  begin();
  auto channel = ready();
  const uint64_t end = device().memory().base() + device().memory().size();
  attachWithTable(*channel, end - 8);  // 16 entries, one of them in memory
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_DMA));
}

TEST_P(AttachTable, ThatIsNotAlignedIsAProtocolError) {
  begin();
  for (unsigned off : {1u, 2u, 4u}) {
    auto channel = ready();
    attachWithTable(*channel, ring(*channel).table() + off);
    EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL)) << off;
  }
}

TEST_P(AttachTable, EntryThatIsNotAlignedIsAProtocolError) {
  begin();
  for (size_t page : {size_t{0}, size_t{7}, size_t{15}}) {
    auto channel = ready();
    ring(*channel).setEntry(page, device().memory().base() + (1 << 20) + 8);
    channel->attach();
    EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL)) << page;
  }
}

// A device may find out at ATTACH or when it comes to that page.
TEST_P(AttachTable, EntryThatIsNotMemoryIsADmaError) {
  begin();
  for (uint64_t bad : device().notMemory()) {
    SCOPED_TRACE(testing::Message() << std::hex << bad);
    auto channel = ready();
    Peer peer = *server().accept(soon());
    ring(*channel).setEntry(0, bad);
    channel->attach();
    ASSERT_TRUE(channel->waitWhile(LANECALL_READY, soon()));
    if (channel->state() == LANECALL_RUNNING) {
      channel->tryWrite(someBytes(100));
      peer.send(someBytes(100), soon());
    }
    EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_DMA));
    EXPECT_TRUE(peer.waitEnd(soon()));
  }
}

TEST_P(AttachTable, IsCopiedAtAttach) {
  begin();
  Call c = call({.tx_shift = 13, .rx_shift = 13});
  for (size_t page : {size_t{0}, size_t{1}}) {
    ring(*c).setEntry(page, device().notMemory().front());
  }
  for (int i = 0; i < 40; ++i)
    ASSERT_TRUE(works(c));  // round it more than once
}

using RingShape = std::tuple<unsigned, unsigned>;  // ring, page shift
class AttachShapes : public Contract,
                     public ::testing::WithParamInterface<RingShape> {};

INSTANTIATE_TEST_SUITE_P(
    Of, AttachShapes,
    ::testing::Combine(::testing::Values(12u, 13u, 16u, 23u),
                       ::testing::Values(12u, 14u, 16u)),
    [](const auto& info) {
      return "Ring" + std::to_string(std::get<0>(info.param)) + "Page" +
             std::to_string(std::get<1>(info.param));
    });

TEST_P(AttachShapes, AllInRangeWork) {
  begin();
  const auto [ring, page] = GetParam();
  Call c = call({.tx_shift = ring, .rx_shift = ring, .page_shift = page});
  const Bytes all = someBytes((size_t{1} << ring) * 3 / 2);
  for (size_t done = 0; done < all.size();) {
    const size_t n = std::min<size_t>(all.size() - done, 100000);
    const Bytes part(all.begin() + static_cast<ptrdiff_t>(done),
                     all.begin() + static_cast<ptrdiff_t>(done + n));
    ASSERT_TRUE(c->write(part, soon()));
    ASSERT_EQ(c.peer.receive(n, soon()), part);
    ASSERT_TRUE(c.peer.send(part, soon()));
    ASSERT_EQ(c->read(n, soon()), part);
    done += n;
  }
}

TEST_F(Contract, RingsOfDifferentSizesWork) {
  begin();
  Call a = call({.channel = 0, .tx_shift = 12, .rx_shift = 20});
  Call b = call({.channel = 1, .tx_shift = 20, .rx_shift = 12});
  EXPECT_TRUE(works(a));
  EXPECT_TRUE(works(b));
}

TEST_F(Contract, BytesPutInBeforeAttachAreSent) {
  begin();
  auto channel = ready();
  const Bytes bytes = someBytes(1000);
  channel->tx().store(0, bytes);
  lanecall_ring_publish(&channel->txIndices(), 1000);
  channel->attach();
  EXPECT_EQ(server().accept(soon())->receive(1000, soon()), bytes);
}

TEST_F(Contract, BytesSentBeforeAttachStayInTheSocketUntilThen) {
  begin();
  auto channel = ready();
  Peer peer = *server().accept(soon());
  const Bytes bytes = someBytes(1000);
  ASSERT_TRUE(peer.send(bytes, soon()));
  EXPECT_EQ(lanecall_get32(&channel->index().rx_producer.head), 0u);
  channel->attach();
  ASSERT_TRUE(channel->waitFor(LANECALL_RUNNING, soon()));
  EXPECT_EQ(channel->read(1000, soon()), bytes);
}

TEST_F(Contract, ServerGoneInReadyEndsTheChannelAfterAttachAtTheLatest) {
  begin();
  auto channel = ready();
  Peer peer = *server().accept(soon());
  const Bytes bytes = someBytes(100);
  peer.send(bytes, soon());
  peer.close();
  if (channel->state() == LANECALL_READY) channel->attach();
  ASSERT_TRUE(endsWith(*channel, LANECALL_ERR_NONE));
  EXPECT_EQ(channel->read(200, soon()), bytes);
}

}  // namespace
}  // namespace lanecall::test
