// SPDX-License-Identifier: Apache-2.0
#include <lanecall/device_io.h>
#include <lanecall/pcie_transport.h>

namespace lanecall {
namespace {

std::unique_ptr<ChannelIo> node(const std::string& path, std::uint32_t tx,
                                std::uint32_t rx) {
  auto io = std::make_unique<DeviceIo>(path);
  io->setRingBytes(tx, rx);
  return io;
}

}  // namespace

TPcieTransport::TPcieTransport(const std::string& path,
                               Configuration configuration,
                               std::uint32_t txRingBytes,
                               std::uint32_t rxRingBytes)
    : StreamTransport(node(path, txRingBytes, rxRingBytes),
                      std::move(configuration)) {}

}  // namespace lanecall
