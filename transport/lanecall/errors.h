// SPDX-License-Identifier: Apache-2.0
//
// One line for a person: which address, what was tried, why it failed, and
// what to do about it.
#ifndef LANECALL_ERRORS_H
#define LANECALL_ERRORS_H

#include <string>

namespace lanecall {

// What a connection leads to, which decides what can be done.
enum class Peer { kDevice, kServer, kClient };

// "name: action: errno's text; remedy". error is an errno value; a reason, if
// there is one, stands for its text.
std::string explain(const std::string& name, const std::string& action,
                    int error, Peer peer, const std::string& reason = {});

}  // namespace lanecall

#endif
