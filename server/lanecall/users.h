// SPDX-License-Identifier: Apache-2.0
//
// Users of this machine. To be called before there are threads: how users are
// looked up may not be safe with any. Internal to the server library.
#ifndef LANECALL_USERS_H
#define LANECALL_USERS_H

#include <sys/types.h>

#include <string>

namespace lanecall {

// The number of a user who is given by it or by name. Throws
// std::invalid_argument, one line, for a name that nobody has.
uid_t userNumber(const std::string& text);

// This process becomes that user, by number or name, of its group and of no
// other, for good; all threads do. Throws std::runtime_error, one line that says what to do: for a
// user that there is not, or if the process may not.
void becomeUser(const std::string& name);

}  // namespace lanecall

#endif
