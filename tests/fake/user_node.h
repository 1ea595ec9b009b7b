// SPDX-License-Identifier: Apache-2.0
// What /dev/lanecallN is to the client library, over a DeviceUnderTest and with
// no kernel: hands out channels, to be read and written or mapped, drains those
// that were closed, and tells ends by errno. So the library's transports meet
// the rings, the interrupts and every end of a device in a unit test.
#ifndef LANECALL_TESTS_USER_NODE_H
#define LANECALL_TESTS_USER_NODE_H

#include <lanecall/channel_io.h>
#include <lanecall/ring_io.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "user_driver.h"

namespace lanecall::test {

// Any thread may call. Outlives what it opened; the device outlives it.
class UserNode {
 public:
  // Of a device whose engine is enabled. options.channel is not used.
  explicit UserNode(DeviceUnderTest& device, ChannelOptions options = {});

  // A channel to open() as often as one likes.
  std::unique_ptr<ChannelIo> channel();
  // The same in mapped mode.
  std::unique_ptr<RingIo> rings();

  // The device was reset or is gone: everything open ends with EIO.
  void lose();

 private:
  friend class UserChannelIo;
  friend class UserRingIo;

  std::unique_ptr<UserChannel> take();  // null if all are in use
  void giveBack(std::unique_ptr<UserChannel> channel);

  DeviceUnderTest& device_;
  const ChannelOptions options_;
  std::atomic<unsigned> losses_{0};
  std::mutex mutex_;
  std::vector<bool> used_;
  std::vector<std::unique_ptr<UserChannel>> draining_;
};

}  // namespace lanecall::test

#endif
