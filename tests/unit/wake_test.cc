// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/wake.h>
#include <poll.h>

namespace lanecall {
namespace {

bool isReadable(const Wake& wake) {
  pollfd wait{wake.fd(), POLLIN, 0};
  return ::poll(&wait, 1, 0) == 1;
}

TEST(WakeTest, IsReadableFromRaiseToClear) {
  Wake wake;
  EXPECT_FALSE(isReadable(wake));
  EXPECT_FALSE(wake.clear());
  wake.raise();
  wake.raise();
  EXPECT_TRUE(isReadable(wake));
  EXPECT_TRUE(wake.clear());
  EXPECT_FALSE(isReadable(wake));
  EXPECT_FALSE(wake.clear());
}

}  // namespace
}  // namespace lanecall
