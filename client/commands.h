// SPDX-License-Identifier: Apache-2.0
//
// The client's commands. Each makes its calls on an open session, prints what
// came, and returns the program's exit status; failures are exceptions.
#ifndef LANECALL_CLIENT_COMMANDS_H
#define LANECALL_CLIENT_COMMANDS_H

#include <cstdint>
#include <string>
#include <vector>

#include "session.h"

namespace lanecall {

int runPing(Session& session, int count);
int runEcho(Session& session, const std::string& text);
int runCounter(Session& session);
int runReflect(Session& session, std::uint32_t size, std::uint64_t seed);
int runFactorial(Session& session, std::int32_t n);
int runScale(Session& session, std::int32_t factor,
             const std::vector<std::int32_t>& values);
// Lends so many bytes of random numbers, has them scaled in place, and compares
// every one.
int runScaleRegion(Session& session, std::int32_t factor, std::uint32_t size,
                   std::uint64_t seed);
int runNote(Session& session, const std::string& text);

// pci-edu's sequence: ping, echo, counter five times; says which path each
// call took.
int runCheck(Session& session);

// Has a dirtied copy of a file cleaned, in extents and whole, and compares
// every byte.
int runVirtineClean(Session& session, const std::string& file,
                    std::uint64_t seed);

}  // namespace lanecall

#endif
