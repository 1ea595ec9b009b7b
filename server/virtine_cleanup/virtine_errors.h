// SPDX-License-Identifier: Apache-2.0
//
// Throwing the exceptions of virtine.thrift, whose generated classes have no
// constructors for what they carry.
#ifndef LANECALL_SERVER_VIRTINE_ERRORS_H
#define LANECALL_SERVER_VIRTINE_ERRORS_H

#include <virtine/virtine_types.h>

#include <cstdint>
#include <string>

namespace lanecall {

[[noreturn]] void throwBadMemory(const std::string& reason);
[[noreturn]] void throwQuotaExceeded(const std::string& reason,
                                     std::int64_t limit);
[[noreturn]] void throwUnknownSnapshot(std::int64_t id);
[[noreturn]] void throwUnknownAttachment(std::int64_t id);
[[noreturn]] void throwUnknownTicket(std::int64_t ticket);
[[noreturn]] void throwSnapshotInUse(std::int64_t id, std::int64_t attachments);

}  // namespace lanecall

#endif
