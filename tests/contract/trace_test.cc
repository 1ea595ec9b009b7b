// SPDX-License-Identifier: Apache-2.0
// "A call, byte by byte" of docs/device.md, step by step: after each, the index
// page holds what the page says and not a bit more.
#include <cstring>

#include "contract.h"

namespace lanecall::test {
namespace {

class Trace : public Contract {
 protected:
  // What the index page should hold.
  lanecall_index_page expected_{};

  void expectPage(UserChannel& c, int step) {
    EXPECT_TRUE(eventually([&] {
      return std::memcmp(&c.index(), &expected_, sizeof expected_) == 0;
    })) << "after step "
        << step;
  }
  void expectInterrupt(int step) {
    EXPECT_TRUE(device().waitInterrupt(4, soon())) << "in step " << step;
  }
};

TEST_F(Trace, OfOnePingIsThePages) {
  begin();
  UserChannel c(device(), {.channel = 3, .vector = 4});
  auto& page = c.index();
  const Bytes ping = someBytes(17, 1), answer = someBytes(17, 2);

  c.open();  // 1
  expectInterrupt(2);
  ASSERT_EQ(c.waitFor(LANECALL_READY, soon()), LANECALL_READY);
  lanecall_put32(&expected_.status, LANECALL_READY);
  expectPage(c, 3);
  Peer peer = *server().accept(soon());
  while (device().interrupted(4)) {
  }

  c.attach();          // 4
  expectInterrupt(5);  // want_head was 0 and stays so
  lanecall_put32(&expected_.status, LANECALL_RUNNING);
  expectPage(c, 5);
  while (device().interrupted(4)) {
  }

  c.tx().store(0, ping);  // 6
  EXPECT_TRUE(lanecall_ring_publish(&c.txIndices(), 17));
  c.doorbell();
  EXPECT_EQ(peer.receive(17, soon()), ping);  // 7
  expectInterrupt(7);
  lanecall_put32(&expected_.tx_producer.head, 0x11);
  lanecall_put32(&expected_.tx_consumer.tail, 0x11);
  lanecall_put32(&expected_.tx_consumer.want_head, 0x11);
  expectPage(c, 7);

  while (device().interrupted(4)) {
  }
  EXPECT_EQ(lanecall_ring_arm(&c.rxIndices()), 0);  // 8
  ASSERT_TRUE(peer.send(answer, soon()));
  expectInterrupt(9);
  lanecall_put32(&expected_.rx_producer.head, 0x11);
  expectPage(c, 9);

  EXPECT_EQ(lanecall_ring_look(&c.rxIndices()), 17);  // 10
  Bytes got(17);
  c.rx().load(0, got);
  EXPECT_EQ(got, answer);
  EXPECT_TRUE(lanecall_ring_release(&c.rxIndices(), 17));
  c.doorbell();
  lanecall_put32(&expected_.rx_consumer.tail, 0x11);
  expectPage(c, 10);

  while (device().interrupted(4)) {
  }
  c.command(LANECALL_CMD_DRAIN);  // 11
  expectInterrupt(12);
  lanecall_put32(&expected_.status, LANECALL_CLOSED);
  expectPage(c, 12);
  EXPECT_TRUE(peer.waitEnd(soon()));
  EXPECT_EQ(lanecall_get32(&page.status), 0u);
  EXPECT_EQ(guestErrors(), 0u);
}

}  // namespace
}  // namespace lanecall::test
