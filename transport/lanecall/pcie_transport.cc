// SPDX-License-Identifier: Apache-2.0
#include <lanecall/device_io.h>
#include <lanecall/pcie_transport.h>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

std::shared_ptr<DeviceIo> nodeOf(const std::string& path, std::uint32_t tx,
                                 std::uint32_t rx) {
  if (path.starts_with("pcie:"))
    throw TTransportException(
        TTransportException::BAD_ARGS,
        "'" + path + "': give the path alone, or all of it to openTransport()");
  auto node = std::make_shared<DeviceIo>(path);
  node->setRingBytes(tx, rx);
  return node;
}

}  // namespace

TPcieTransport::TPcieTransport(const std::string& path,
                               const Configuration& configuration,
                               std::uint32_t txRingBytes,
                               std::uint32_t rxRingBytes)
    : TPcieTransport(nodeOf(path, txRingBytes, rxRingBytes), configuration) {}

TPcieTransport::TPcieTransport(std::shared_ptr<DeviceIo> node,
                               const Configuration& configuration)
    : RingTransport(std::make_unique<DeviceRingIo>(node), configuration),
      node_(std::move(node)),
      rings_(static_cast<DeviceRingIo*>(&io())) {}

void TPcieTransport::setMode(Mode mode) {
  if (rings_) rings_->setMode(mode);
}

void TPcieTransport::setModeration(std::uint32_t bytes,
                                   std::uint32_t microseconds) {
  if (node_) node_->setModeration(bytes, microseconds);
}

}  // namespace lanecall
