// SPDX-License-Identifier: Apache-2.0
//
// The log of calls on standard output, one line each, as pci-edu prints it:
// "ping()", "echo('Hello, world!')", "counter() => 0".
#ifndef LANECALL_SERVER_CALL_LOG_H
#define LANECALL_SERVER_CALL_LOG_H

#include <concepts>
#include <string>
#include <string_view>

namespace lanecall {

// Whether there is one; there is, unless this says otherwise before any call is
// served.
void setCallLog(bool on);
bool isCallLogged();

// Writes the line and flushes it. Lines of several threads do not mix.
void logCall(std::string_view line);

// The same of a line that is only made if it is wanted.
template <std::invocable MakeLine>
void logCall(MakeLine makeLine) {
  if (isCallLogged()) logCall(std::string_view(makeLine()));
}

// Text of a client's between single quotes: control characters, quotes and
// backslashes escaped, so that it cannot forge a line, and a long one cut.
std::string quoted(std::string_view text);

}  // namespace lanecall

#endif
