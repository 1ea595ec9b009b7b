// SPDX-License-Identifier: Apache-2.0
//
// Text from outside as the value of a log line's field: names and errors hold
// what a client sent, and must neither forge a line nor fill the log. Internal
// to the server library.
#ifndef LANECALL_LOG_FIELD_H
#define LANECALL_LOG_FIELD_H

#include <string>
#include <string_view>

namespace lanecall {

// The first 512 characters, with ? for control characters, for " and for the
// backslash that could escape the quote after it.
std::string logField(std::string_view text);

}  // namespace lanecall

#endif
