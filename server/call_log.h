// SPDX-License-Identifier: Apache-2.0
//
// The log of calls on standard output, one line each, as pci-edu prints it:
// "ping()", "echo('Hello, world!')", "counter() => 0".
#ifndef LANECALL_SERVER_CALL_LOG_H
#define LANECALL_SERVER_CALL_LOG_H

#include <string>
#include <string_view>

namespace lanecall {

// Writes the line and flushes it. Lines of several threads do not mix.
void logCall(const std::string& line);

// Text of a client's between single quotes: control characters, quotes and
// backslashes escaped, so that it cannot forge a line, and a long one cut.
std::string quoted(std::string_view text);

}  // namespace lanecall

#endif
