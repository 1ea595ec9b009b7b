// SPDX-License-Identifier: Apache-2.0
//
// For a server that root starts, and that is to run as somebody else.
#ifndef LANECALL_BECOME_USER_H
#define LANECALL_BECOME_USER_H

#include <string>

namespace lanecall {

// This process becomes that user, of its group and of no other, for good; all
// threads do. Throws std::runtime_error, one line that says what to do: for a
// user that there is not, or if the process may not.
void becomeUser(const std::string& name);

}  // namespace lanecall

#endif
