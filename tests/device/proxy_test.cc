// SPDX-License-Identifier: Apache-2.0
// proxy=on: what a connection begins with. On the card port OFFER tells the
// same, as any device's has to (contract/card_test.cc).
#include <lanecall/proxy.h>

#include "contract.h"
#include "qemu_device.h"

namespace lanecall::test {
namespace {

Bytes number(uint8_t type, uint32_t value) {
  return {type,
          0,
          4,
          static_cast<uint8_t>(value >> 24),
          static_cast<uint8_t>(value >> 16),
          static_cast<uint8_t>(value >> 8),
          static_cast<uint8_t>(value)};
}

// A header with these fields behind each other.
Bytes header(const std::vector<Bytes>& fields) {
  const std::string signature(LANECALL_PROXY_SIGNATURE, 12);
  Bytes all(signature.begin(), signature.end());
  all.insert(all.end(), {0x21, 0x00, 0, 0});
  for (const Bytes& field : fields) {
    all.insert(all.end(), field.begin(), field.end());
    all[15] += static_cast<uint8_t>(field.size());
  }
  return all;
}

class Proxy : public ContractOnSockets {
 protected:
  void start(const std::string& id = "dut",
             uint32_t features = LANECALL_FEATURE_USERS) {
    listen(GetParam());
    QemuOptions options;
    options.arguments = {"-device",
                         QemuDevice::argument({.rpc = server().rpc()}) +
                             ",proxy=on,addr=4.0,id=" + id};
    use(std::make_unique<QemuDevice>(std::make_shared<Qemu>(options)));
    enableEngine(device(), features);
  }

  // The next connection's.
  Peer expectHeader(const Bytes& expected) {
    auto peer = server().accept(soon());
    if (!peer) throw std::runtime_error("the device does not connect");
    EXPECT_EQ(peer->receive(expected.size(), soon()), expected);
    return std::move(*peer);
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Proxy, sockets(),
                         ::testing::PrintToStringParamName());

const Bytes kName = {LANECALL_PROXY_DEVICE, 0, 3, 'd', 'u', 't'};

TEST_P(Proxy, EachConnectionBeginsWithWhoOpenedIt) {
  start();
  for (uint32_t user : {0u, 1000u, 0xfffffffeu}) {
    for (unsigned n : {0u, 63u}) {
      UserChannel channel(device(), {.channel = n, .user = user});
      ASSERT_TRUE(channel.start(soon()));
      Peer peer = expectHeader(header({kName, number(LANECALL_PROXY_CHANNEL, n),
                                       number(LANECALL_PROXY_USER, user)}));
      ASSERT_TRUE(channel.write(someBytes(3000), soon()));
      EXPECT_EQ(peer.receive(3000, soon()), someBytes(3000));
      ASSERT_TRUE(peer.send(someBytes(500, 2), soon()));
      EXPECT_EQ(channel.read(500, soon()), someBytes(500, 2));
    }
  }
}

// What the register has means nothing then.
TEST_P(Proxy, AUserWhoWasNotToldIsNotTold) {
  start("dut", 0);
  UserChannel channel(device(), {.channel = 1, .user = 1000});
  channel.open();
  Peer peer = expectHeader(header({kName, number(LANECALL_PROXY_CHANNEL, 1)}));
  ASSERT_TRUE(channel.close(soon()));
  EXPECT_EQ(peer.receiveToEnd(soon()), Bytes{});
}

TEST_P(Proxy, ALongNameIsCutAsInHello) {
  start("a-name-of-twenty-one");
  auto channel = opened();
  const std::string cut = "a-name-of-twent";
  Bytes name = {LANECALL_PROXY_DEVICE, 0, 15};
  name.insert(name.end(), cut.begin(), cut.end());
  expectHeader(header({name, number(LANECALL_PROXY_CHANNEL, 0),
                       number(LANECALL_PROXY_USER, 0)}));
}

TEST_P(Proxy, TheUserIsTheOneAtOpen) {
  start();
  UserChannel channel(device(), {.user = 7});
  channel.open();
  channel.writeControl(LANECALL_CH_USER, 8);
  expectHeader(header({kName, number(LANECALL_PROXY_CHANNEL, 0),
                       number(LANECALL_PROXY_USER, 7)}));
}

}  // namespace
}  // namespace lanecall::test
