// SPDX-License-Identifier: Apache-2.0
#include <lanecall/memory_region.h>
#include <lanecall/virtine_service.h>
#include <thrift/protocol/TMultiplexedProtocol.h>

namespace lanecall {

VirtineService openVirtineService(const std::string& uri,
                                  const ClientOptions& options) {
  using apache::thrift::protocol::TMultiplexedProtocol;
  auto transport = openTransport(uri, options);
  auto named = std::make_shared<TMultiplexedProtocol>(
      protocolOn(transport, options), "VirtineCleanup");
  return {std::make_shared<virtine::VirtineCleanupClient>(named),
          lenderOf(transport)};
}

}  // namespace lanecall
