// SPDX-License-Identifier: Apache-2.0
//
// What the command line of client_tests says.
#ifndef LANECALL_TESTS_SETTINGS_H
#define LANECALL_TESTS_SETTINGS_H

#include <lanecall/device_ring_io.h>
#include <lanecall/spin.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lanecall::test {

struct Settings {
  // tcp, unix, pcie:/dev/lanecallN
  std::vector<std::string> paths;
  // The lanecall-server to start here.
  std::string server;
  // A lanecall-harness that starts servers for tcp and pcie on its own
  // machine; empty: they are started here.
  std::string control;
  // How clients use a device, and how they wait.
  DeviceMode mode = DeviceMode::kAutomatic;
  Spin spin = Spin::adaptive();
  // The servers at a device are its card: memory is lent to them.
  bool lends = false;
  // Fewer repetitions, for machines that are emulated.
  bool quick = false;
  std::uint64_t seed = 0;
  // Of virtines by reference, instead of what --quick says.
  int cleans = 0;

  int scaled(int full, int quickly) const { return quick ? quickly : full; }
};

const Settings& settings();

}  // namespace lanecall::test

#endif
