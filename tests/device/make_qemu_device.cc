// SPDX-License-Identifier: Apache-2.0
// The contract tests on QEMU's device.
#include "qemu_device.h"

namespace lanecall::test {

std::unique_ptr<DeviceUnderTest> makeDevice(const DeviceOptions& options) {
  return std::make_unique<QemuDevice>(options);
}

}  // namespace lanecall::test
