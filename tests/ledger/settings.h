// SPDX-License-Identifier: Apache-2.0
//
// What the command line of ledger_tests says.
#ifndef LANECALL_TESTS_LEDGER_SETTINGS_H
#define LANECALL_TESTS_LEDGER_SETTINGS_H

#include <lanecall/buffered.h>

#include <cstdint>
#include <string>

namespace lanecall::ledger {

struct Settings {
  // Where clients go to: pcie:/dev/lanecallN, what the server listens at, or
  // "tcp": to a port of it.
  std::string to;
  // Where the server listens, as the harness has it.
  std::string listen;
  // The harness that starts servers on the guest's host; empty: they are
  // started here.
  std::string control;
  std::string server;  // the ledger-server, then
  // Names of the servers' files begin with this, on their machine.
  std::string ledger;
  // Where QEMU's monitor is to be had, and what makes the device once more.
  std::string monitor;
  std::string device;
  // Where clients write down, instead of in memory.
  std::string port;
  Framing framing = Framing::kBuffered;
  int calls = 2'000;
  int times = 3;  // of whatever happens to clients, servers, devices
  // Of all answers, as another run had it with the same seed; empty: unknown.
  std::string digest;
  std::uint64_t seed = 0;
};

const Settings& settings();

}  // namespace lanecall::ledger

#endif
