// SPDX-License-Identifier: Apache-2.0
//
// The ground of every client test: a fresh server at the end of the path that
// is tested, and clients of it. A test that ends with the server still running
// also tests that it stops in order.
#ifndef LANECALL_TESTS_FIXTURE_H
#define LANECALL_TESTS_FIXTURE_H

#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/open.h>
#include <virtine/VirtineCleanup.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "path.h"
#include "settings.h"

namespace lanecall::test {

// A connection and its clients.
struct Client {
  Client(const std::string& uri, const ClientOptions& options);

  TransportPtr transport;
  ProtocolPtr protocol;
  edu::EduClient edu;
  virtine::VirtineCleanupClient virtine;
};

class ClientTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts a server with these more arguments, at the address of the last one
  // if there was one.
  void startServer(const std::vector<std::string>& arguments = {});
  void stopServer();  // and expects it to end in order
  void killServer();

  // Generous bounds: a test that meets one has hung.
  static ClientOptions patience();

  std::string uri() const { return uri_; }
  // Whether memory has to be lent over this path.
  static bool lends();
  std::unique_ptr<Client> connect(const ClientOptions& options = patience());
  // Waits for a channel, if all are in use, for as long as connecting may take.
  // The device frees one some time after its last user closed it.
  std::unique_ptr<Client> connectWhenFree(
      const ClientOptions& options = patience());

  std::unique_ptr<Path> path;
  std::optional<Harness::Server> server;

 private:
  std::string listen_;
  std::string uri_;
};

std::vector<std::string> testedPaths();
std::string pathName(const ::testing::TestParamInfo<std::string>& info);

}  // namespace lanecall::test

// Runs a fixture's tests over every path of the command line.
#define LANECALL_ON_EVERY_PATH(fixture)                                    \
  INSTANTIATE_TEST_SUITE_P(                                                \
      Over, fixture, ::testing::ValuesIn(::lanecall::test::testedPaths()), \
      ::lanecall::test::pathName);                                         \
  GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(fixture)

#endif
