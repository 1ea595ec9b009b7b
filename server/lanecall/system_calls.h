// SPDX-License-Identifier: Apache-2.0
//
// The system calls that a server makes once its sockets are open. Internal to
// the server library.
#ifndef LANECALL_SYSTEM_CALLS_H
#define LANECALL_SYSTEM_CALLS_H

namespace lanecall {

// From here on all threads of this process can make no others: they fail with
// EPERM, and those of another architecture end the process. unlinking: files
// may be removed. 0 or a negated errno value, -EINVAL or -EOPNOTSUPP on a
// kernel without seccomp filters.
int allowOnlyServing(bool unlinking);

}  // namespace lanecall

#endif
