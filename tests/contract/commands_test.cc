// SPDX-License-Identifier: Apache-2.0
// Every cell of the table of states and commands: in each state each command,
// known and unknown.
#include "contract.h"

namespace lanecall::test {
namespace {

// The plane, the state, the command.
using Cell = std::tuple<Family, uint32_t, uint32_t>;

std::string nameOf(uint32_t state) {
  constexpr const char* kNames[] = {"Closed",  "Connecting", "Ready",
                                    "Running", "Draining",   "Ended"};
  return kNames[state];
}

std::string commandName(uint32_t command) {
  constexpr const char* kNames[] = {"Zero", "Open", "Attach", "Drain", "Close"};
  return command < 5 ? kNames[command] : "Unknown" + std::to_string(command);
}

class Commands : public Contract, public ::testing::WithParamInterface<Cell> {
 protected:
  // A channel in that state, whose server has not read anything.
  void enter(Family family, uint32_t state) {
    const bool card = family == Family::kCard;
    if (card) {
      begin(family);
      server().holdOffers(state == LANECALL_CONNECTING);
    } else if (state == LANECALL_CONNECTING) {
      begin(Family::kTcp, {}, 0);
      in_the_way_ = server().fillQueue();
    } else {
      begin();
    }
    channel_ = std::make_unique<UserChannel>(
        device(), ChannelOptions{.channel = 3, .tx_shift = 23});
    if (state == LANECALL_CLOSED) return;
    channel_->open();
    if (state == LANECALL_CONNECTING) return;
    ASSERT_TRUE(channel_->waitFor(LANECALL_READY, soon()));
    if (!card) peer_ = server().accept(soon());
    if (state == LANECALL_READY) return;
    channel_->attach();
    ASSERT_TRUE(channel_->waitFor(LANECALL_RUNNING, soon()));
    if (card) peer_ = server().accept(soon());
    if (state == LANECALL_RUNNING || state == LANECALL_DRAINING) {
      // More than any socket holds.
      channel_->tryWrite(Bytes(channel_->tx().size()));
    }
    if (state == LANECALL_DRAINING) {
      channel_->command(LANECALL_CMD_DRAIN);
      ASSERT_TRUE(channel_->waitFor(LANECALL_DRAINING, soon()));
    }
    if (state == LANECALL_ENDED) {
      peer_->close();
      ASSERT_TRUE(endsWith(*channel_, LANECALL_ERR_NONE));
    }
  }

  static bool allowed(uint32_t state, uint32_t command) {
    switch (command) {
      case LANECALL_CMD_OPEN:
        return state == LANECALL_CLOSED;
      case LANECALL_CMD_ATTACH:
        return state == LANECALL_READY;
      case LANECALL_CMD_DRAIN:
        return state != LANECALL_CLOSED && state != LANECALL_DRAINING;
      case LANECALL_CMD_CLOSE:
        return state != LANECALL_CLOSED;
      default:
        return false;
    }
  }

  void expectAllowed(uint32_t state, uint32_t command) {
    if (command == LANECALL_CMD_OPEN) {
      EXPECT_TRUE(channel_->waitFor(LANECALL_READY, soon()));
    } else if (command == LANECALL_CMD_ATTACH) {
      EXPECT_TRUE(channel_->waitFor(LANECALL_RUNNING, soon()));
    } else if (command == LANECALL_CMD_DRAIN && state == LANECALL_RUNNING) {
      EXPECT_TRUE(channel_->waitFor(LANECALL_DRAINING, soon()));
    } else {
      EXPECT_TRUE(isClosed(*channel_));
    }
    EXPECT_EQ(guestErrors(), 0u);
  }

  void expectBreach(uint32_t state, uint32_t status_before) {
    if (state == LANECALL_CLOSED || state == LANECALL_ENDED) {
      EXPECT_EQ(channel_->status(), status_before);
      EXPECT_EQ(channel_->statusRegister(), status_before);
    } else {
      EXPECT_TRUE(endsWith(*channel_, LANECALL_ERR_PROTOCOL));
      if (peer_) {
        EXPECT_TRUE(peer_->waitEnd(soon()));
      }
    }
    EXPECT_EQ(guestErrors(), 1u);
  }

  std::unique_ptr<UserChannel> channel_;
  std::optional<Peer> peer_;
  Descriptor in_the_way_;
};

TEST_P(Commands, DoWhatTheTableSays) {
  const auto [family, state, command] = GetParam();
  ASSERT_NO_FATAL_FAILURE(enter(family, state));
  ASSERT_EQ(channel_->state(), state);
  ASSERT_EQ(LANECALL_STATE(channel_->statusRegister()), state);
  const uint32_t before = channel_->status();
  if (command == LANECALL_CMD_OPEN && allowed(state, command)) {
    channel_->open();
  } else if (command == LANECALL_CMD_ATTACH && allowed(state, command)) {
    channel_->attach();
  } else {
    channel_->command(command);
  }
  if (allowed(state, command)) {
    expectAllowed(state, command);
  } else {
    expectBreach(state, before);
  }
  // Whatever it was, the channel can be closed and has another life.
  if (LANECALL_STATE(channel_->statusRegister()) != LANECALL_CLOSED) {
    ASSERT_TRUE(channel_->close(soon()));
  }
  in_the_way_.reset();
  peer_.reset();
  if (family == Family::kCard) server().holdOffers(false);
  EXPECT_TRUE(worksAnew(*channel_));
}

INSTANTIATE_TEST_SUITE_P(
    InState, Commands,
    ::testing::Combine(::testing::Values(Family::kUnix, Family::kCard),
                       ::testing::Range(0u, 6u),
                       ::testing::Values(0u, 1u, 2u, 3u, 4u, 5u, 0xffffffffu)),
    [](const auto& info) {
      return ::testing::PrintToString(std::get<0>(info.param)) + "_" +
             nameOf(std::get<1>(info.param)) + "_" +
             commandName(std::get<2>(info.param));
    });

}  // namespace
}  // namespace lanecall::test
