// SPDX-License-Identifier: Apache-2.0
// All channels of a device at once.
#include "contract.h"

namespace lanecall::test {
namespace {

class Many
    : public Contract,
      public ::testing::WithParamInterface<std::tuple<Family, unsigned>> {
 protected:
  const Family family_ = std::get<0>(GetParam());
  const unsigned channels_ = std::get<1>(GetParam());
};

INSTANTIATE_TEST_SUITE_P(
    Channels, Many,
    ::testing::Combine(::testing::Values(Family::kUnix, Family::kCard),
                       ::testing::Values(1u, 64u, 256u)),
    [](const auto& info) {
      return ::testing::PrintToString(std::get<0>(info.param)) +
             std::to_string(std::get<1>(info.param));
    });

TEST_P(Many, EchoAtOnceWithoutMixingTheirBytes) {
  begin(family_, {.channels = channels_});
  EchoService echo(server());
  struct Client {
    std::unique_ptr<UserChannel> channel;
    Bytes out, back;
    size_t sent = 0;
  };
  std::vector<Client> clients(channels_);
  for (unsigned n = 0; n < clients.size(); ++n) {
    clients[n].channel = std::make_unique<UserChannel>(
        device(), ChannelOptions{.channel = n, .tx_shift = 12, .rx_shift = 12});
    clients[n].channel->open();
    clients[n].out = someBytes(20000 + n, n);
  }
  for (auto& c : clients) {
    ASSERT_TRUE(c.channel->waitFor(LANECALL_READY, soon()));
    c.channel->attach();
  }
  for (auto& c : clients) {
    ASSERT_TRUE(c.channel->waitFor(LANECALL_RUNNING, soon()));
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
  begin(family_, {.channels = channels_});
  std::vector<Call> calls;
  for (unsigned n = 0; n < channels_; ++n) {
    calls.push_back(call({.channel = n, .tx_shift = 12, .rx_shift = 12}));
  }
  for (auto& c : calls) c.peer.close();
  for (auto& c : calls) EXPECT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
  for (auto& c : calls) ASSERT_TRUE(c->close(soon()));
  EXPECT_TRUE(worksAnew(*calls.back()));
}

}  // namespace
}  // namespace lanecall::test
