// SPDX-License-Identifier: Apache-2.0
//
// lanecall-bench-server: serves what only the bench calls.
#include <lanecall/serve.h>

#include <memory>

#include "dma_handler.h"

int main(int argc, char** argv) {
  using namespace lanecall;
  ServerProgram program;
  program.description =
      "Serves DmaBench: moves bytes by DMA, and says how long that took.";
  program.makeServices = [](const ServerOptions&) {
    const auto make = [](const apache::thrift::TConnectionInfo& connection) {
      return std::make_shared<bench::dma::DmaBenchProcessor>(
          std::make_shared<bench::DmaHandler>(
              cardDeviceOf(connection.transport)));
    };
    return std::vector<Service>{{"DmaBench", make}};
  };
  return serve(argc, argv, program);
}
