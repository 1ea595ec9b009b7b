// SPDX-License-Identifier: Apache-2.0
//
// Landlock: what a thread may do to the file system. Internal to the server
// library.
#ifndef LANECALL_FILE_GUARD_H
#define LANECALL_FILE_GUARD_H

#include <string>
#include <vector>

namespace lanecall {

// From here on this thread, and all that it starts, can run, write, make and
// remove nothing; but in these folders and below make sockets, and remove any
// file. A folder that there is not is left out. Reading, and what is open, are
// not touched. Needs no_new_privs. 0 or a negated errno value: -ENOSYS,
// -EOPNOTSUPP or -EPERM without Landlock.
int makeOnlySocketsIn(const std::vector<std::string>& folders);

}  // namespace lanecall

#endif
