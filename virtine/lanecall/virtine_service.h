// SPDX-License-Identifier: Apache-2.0
//
// A connection to a service VirtineCleanup, and the device it leads to, if any.
#ifndef LANECALL_VIRTINE_SERVICE_H
#define LANECALL_VIRTINE_SERVICE_H

#include <lanecall/lender.h>
#include <lanecall/open.h>
#include <virtine/VirtineCleanup.h>

#include <memory>
#include <string>

namespace lanecall {

struct VirtineService {
  std::shared_ptr<virtine::VirtineCleanupIf> client;
  // Null: memory travels inside messages.
  std::shared_ptr<Lender> lender;
};

// The service of that name at tcp:, unix: or pcie:. Blocks at most the connect
// timeout; throws as openTransport().
VirtineService openVirtineService(const std::string& uri,
                                  const ClientOptions& options = {});

}  // namespace lanecall

#endif
