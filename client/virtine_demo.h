// SPDX-License-Identifier: Apache-2.0
//
// Virtines that run for show: functions in shells of many sizes, which are
// cleaned by the co-processor between runs, and one function that looks for
// what the last one left.
#ifndef LANECALL_CLIENT_VIRTINE_DEMO_H
#define LANECALL_CLIENT_VIRTINE_DEMO_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "session.h"

namespace lanecall {

enum class ShellKind {
  kAuto,   // machines where there is KVM, and it says so where there is none
  kKvm,    // machines, or an error
  kPlain,  // models in plain memory
};

// Its name on the command line; std::invalid_argument if it is none.
ShellKind parseShellKind(const std::string& name);

struct VirtineDemoOptions {
  std::vector<std::size_t> sizes = {64 << 10, 256 << 10, 1 << 20, 4 << 20,
                                    16 << 20};
  // Of the secret hunter, in each size; so many MiB of memory where that is
  // fewer.
  std::uint32_t runs = 1000;
  ShellKind shells = ShellKind::kAuto;
  // Else nobody cleans, so that the secret has to be found.
  bool clean = true;
  ClientOptions connection;
};

// Returns 0 if every function found a clean shell, 1 if one did not or the
// service was lost.
int runVirtineDemo(Session& session, const VirtineDemoOptions& options);

}  // namespace lanecall

#endif
