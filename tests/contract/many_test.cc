// SPDX-License-Identifier: Apache-2.0
// All channels of a device at once.
#include "contract.h"

namespace lanecall::test {
namespace {

class Many : public Contract, public ::testing::WithParamInterface<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Channels, Many, ::testing::Values(1u, 64u, 256u),
                         ::testing::PrintToStringParamName());

TEST_P(Many, EchoAtOnceWithoutMixingTheirBytes) {
  begin(Family::kUnix, {.channels = GetParam()});
  EchoService echo(server());
  struct Client {
    std::unique_ptr<UserChannel> channel;
    Bytes out, back;
    size_t sent = 0;
  };
  std::vector<Client> clients(GetParam());
  for (unsigned n = 0; n < clients.size(); ++n) {
    clients[n].channel = std::make_unique<UserChannel>(
        device(), ChannelOptions{.channel = n, .tx_shift = 12, .rx_shift = 12});
    clients[n].channel->open();
    clients[n].out = someBytes(20000 + n, n);
  }
  for (auto& c : clients) {
    ASSERT_EQ(c.channel->waitWhile(LANECALL_CONNECTING, soon()),
              LANECALL_READY);
    c.channel->attach();
  }
  for (auto& c : clients) {
    ASSERT_EQ(c.channel->waitWhile(LANECALL_READY, soon()), LANECALL_RUNNING);
  }
  const Deadline deadline = soon();
  size_t left = clients.size();
  while (left > 0) {
    ASSERT_FALSE(deadline.passed());
    left = 0;
    for (auto& c : clients) {
      const auto rest = std::span(c.out).subspan(c.sent);
      if (!rest.empty()) {
        const __s64 n = c.channel->tryWrite(rest);
        ASSERT_GE(n, 0);
        c.sent += static_cast<size_t>(n);
      }
      unsigned char part[4096];
      const __s64 n = c.channel->tryRead(part);
      ASSERT_GE(n, 0);
      c.back.insert(c.back.end(), part, part + n);
      left += c.back.size() < c.out.size();
    }
    device().read32(LANECALL_REG_MAGIC);
  }
  for (auto& c : clients) ASSERT_EQ(c.back, c.out);
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_P(Many, EndTogetherWhenTheServerGoes) {
  begin(Family::kUnix, {.channels = GetParam()});
  std::vector<Call> calls;
  for (unsigned n = 0; n < GetParam(); ++n) {
    calls.push_back(call({.channel = n, .tx_shift = 12, .rx_shift = 12}));
  }
  for (auto& c : calls) c.peer.close();
  for (auto& c : calls) EXPECT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
  for (auto& c : calls) ASSERT_TRUE(c->close(soon()));
  EXPECT_TRUE(worksAnew(*calls.back()));
}

}  // namespace
}  // namespace lanecall::test
