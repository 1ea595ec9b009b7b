// SPDX-License-Identifier: Apache-2.0
#include "virtine_errors.h"

namespace lanecall {

void throwBadMemory(const std::string& reason) {
  virtine::BadMemory error;
  error.reason = reason;
  throw error;
}

void throwQuotaExceeded(const std::string& reason, std::int64_t limit) {
  virtine::QuotaExceeded error;
  error.reason = reason;
  error.limit = limit;
  throw error;
}

void throwUnknownSnapshot(std::int64_t id) {
  virtine::UnknownSnapshot error;
  error.snapshot = id;
  throw error;
}

void throwUnknownAttachment(std::int64_t id) {
  virtine::UnknownAttachment error;
  error.attachment = id;
  throw error;
}

void throwUnknownTicket(std::int64_t ticket) {
  virtine::UnknownTicket error;
  error.ticket = ticket;
  throw error;
}

void throwSnapshotInUse(std::int64_t id, std::int64_t attachments) {
  virtine::SnapshotInUse error;
  error.snapshot = id;
  error.attachments = attachments;
  throw error;
}

}  // namespace lanecall
