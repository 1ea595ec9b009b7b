// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include <lanecall/deadline.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TTransportException.h>

#include <chrono>
#include <thread>

#include "patience.h"

namespace lanecall::test {

using apache::thrift::transport::TTransportException;

Client::Client(const std::string& uri, const ClientOptions& options)
    : transport(openTransport(uri, options)),
      protocol(protocolOn(transport, options)),
      edu(protocol),
      virtine(std::make_shared<apache::thrift::protocol::TMultiplexedProtocol>(
          protocol, "VirtineCleanup")) {}

void ClientTest::SetUp() {
  path = Path::make(GetParam());
  startServer();
}

void ClientTest::TearDown() {
  if (server) stopServer();
}

void ClientTest::startServer(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--log-level", "error"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  if (listen_.empty()) listen_ = path->listen();
  server = path->harness().start({listen_}, all);
  listen_ = server->addresses.at(0);
  uri_ = path->clientUri(listen_);
}

void ClientTest::stopServer() {
  EXPECT_EQ(path->harness().stop(server->id), 0) << "the server's status";
  server.reset();
}

void ClientTest::killServer() {
  path->harness().kill(server->id);
  server.reset();
}

ClientOptions ClientTest::patience() {
  ClientOptions options = patient();
  options.mode = settings().mode;
  options.spin = settings().spin;
  return options;
}

std::unique_ptr<Client> ClientTest::connect(const ClientOptions& options) {
  return std::make_unique<Client>(uri_, options);
}

// Nothing tells when one is free: only trying does.
std::unique_ptr<Client> ClientTest::connectWhenFree(
    const ClientOptions& options) {
  const Deadline deadline = Deadline::in(options.connectTimeoutMs);
  for (;;) {
    try {
      return connect(options);
    } catch (const TTransportException& error) {
      bool busy = std::string(error.what()).find("busy") != std::string::npos;
      if (!busy || deadline.passed()) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

bool ClientTest::lends() {
  return settings().lends && GetParam().starts_with("pcie:");
}

std::vector<std::string> testedPaths() { return settings().paths; }

std::string pathName(const ::testing::TestParamInfo<std::string>& info) {
  return shortName(info.param);
}

}  // namespace lanecall::test
