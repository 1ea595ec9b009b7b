// SPDX-License-Identifier: Apache-2.0
// The ground of every contract test: a server whose moves the test makes, a
// fresh device that connects to it, and short words for what tests do often.
//
// No test depends on how fast the machine is: what must happen is waited for
// with soon(), which is far longer than it takes; what must not happen is
// looked for after something that comes later for certain.
#ifndef LANECALL_TESTS_CONTRACT_H
#define LANECALL_TESTS_CONTRACT_H

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>

#include "device_under_test.h"
#include "test_server.h"
#include "user_driver.h"

namespace lanecall::test {

inline Deadline soon() { return Deadline::in(120000); }

// Bytes that differ from place to place and from seed to seed.
Bytes someBytes(size_t size, unsigned seed = 1);

// A channel in use and the server's end of it.
struct Call {
  std::unique_ptr<UserChannel> channel;
  Peer peer;
  UserChannel* operator->() { return channel.get(); }
  UserChannel& operator*() { return *channel; }
};

class Contract : public ::testing::Test {
 protected:
  // A server and a device whose engine is enabled.
  void begin(Family family = Family::kUnix, DeviceOptions options = {},
             int backlog = 512);
  // Enables the engine, and again after a reset.
  void enable();
  // The two halves of begin(), for tests that make their device themselves.
  void listen(Family family = Family::kUnix, int backlog = 512) {
    family_ = family;
    server_ = std::make_unique<TestServer>(family, dir_, backlog);
  }
  void use(std::unique_ptr<DeviceUnderTest> device) {
    device_ = std::move(device);
  }
  // A device, not enabled, whose server is at this address.
  void beginAt(const std::string& rpc, DeviceOptions options = {});

  DeviceUnderTest& device() { return *device_; }
  TestServer& server() { return *server_; }

  // RUNNING and connected; throws if that does not come about.
  Call call(ChannelOptions options = {});
  // CONNECTING is over: READY, or ENDED. Needs only a device.
  std::unique_ptr<UserChannel> opened(ChannelOptions options = {});
  std::unique_ptr<UserChannel> ready(ChannelOptions options = {});

  uint32_t guestErrors() { return device().read32(LANECALL_REG_GUEST_ERRORS); }

  // ENDED with that error, on whatever plane, in the register as in memory.
  ::testing::AssertionResult endsWith(UserChannel& channel, uint32_t error);
  ::testing::AssertionResult isClosed(UserChannel& channel);
  // A byte string goes each way.
  ::testing::AssertionResult works(Call& call);
  ::testing::AssertionResult worksAnew(UserChannel& channel);

  // Waits until the device has done something that has no interrupt.
  template <typename Predicate>
  ::testing::AssertionResult eventually(Predicate predicate) {
    const Deadline deadline = soon();
    while (!predicate()) {
      if (deadline.passed()) return ::testing::AssertionFailure() << "never";
      device().read32(LANECALL_REG_MAGIC);  // lets the device have its turn
      std::this_thread::yield();
    }
    return ::testing::AssertionSuccess();
  }

  TempDir dir_;

 private:
  Family family_ = Family::kUnix;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<DeviceUnderTest> device_;
};

// How gtest shows a parameter that has a name.
// (Names would otherwise hold addresses, which change from run to run.)
template <typename Named>
requires requires(const Named& n) { n.name; }
void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }

// The tests in which it matters what kind of socket it is; and those that are
// the same on both planes.
class ContractOnSockets : public Contract,
                          public ::testing::WithParamInterface<Family> {};
class ContractOnPlanes : public ContractOnSockets {};

inline auto sockets() { return ::testing::Values(Family::kUnix, Family::kTcp); }
inline auto planes() {
  return ::testing::Values(Family::kUnix, Family::kTcp, Family::kCard);
}

}  // namespace lanecall::test

#endif
