// SPDX-License-Identifier: Apache-2.0
// The contract tests on the fake device.
#include "fake_device.h"

namespace lanecall::test {

std::unique_ptr<DeviceUnderTest> makeDevice(const DeviceOptions& options) {
  return std::make_unique<FakeDevice>(options);
}

}  // namespace lanecall::test
