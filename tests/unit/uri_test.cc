// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/listener.h>
#include <lanecall/open.h>
#include <lanecall/pcie_transport.h>
#include <lanecall/uri.h>
#include <netdb.h>

#include <stdexcept>

namespace lanecall {
namespace {

TEST(UriTest, ReadsEachSchemeAndWritesItBack) {
  for (const char* text :
       {"tcp:localhost:9090", "tcp:127.0.0.1:0", "tcp:[::1]:65535",
        "unix:/run/lanecall.sock", "unix:relative", "pcie:/dev/lanecall0"})
    EXPECT_EQ(parseUri(text).str(), text);
}

TEST(UriTest, SplitsAnIpv6AddressFromItsPort) {
  Uri uri = parseUri("tcp:[fe80::1]:80");
  EXPECT_EQ(uri.host, "fe80::1");
  EXPECT_EQ(uri.port, 80);
}

TEST(UriTest, RefusesWhatItDoesNotUnderstandNamingIt) {
  for (const char* text :
       {"", "tcp", "tcp:", "tcp:host", "tcp:host:", "tcp::80", "tcp:host:65536",
        "tcp:host:-1", "tcp:host:80x", "tcp:::1:80",
        "unix:", "pcie:", "http://x", "/dev/lanecall0", "TCP:host:80"}) {
    try {
      parseUri(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const std::invalid_argument& error) {
      std::string line = error.what();
      EXPECT_EQ(line.find("'" + std::string(text) + "'"), 0u) << line;
      EXPECT_EQ(line.find('\n'), std::string::npos);
    }
  }
}

TEST(UriTest, AServerIsNotOfferedADevice) {
  EXPECT_EQ(parseListenUri("tcp:localhost:0").str(), "tcp:localhost:0");
  try {
    parseListenUri("http://x");
    FAIL() << "it was accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_EQ(std::string(error.what()).find("pcie"), std::string::npos)
        << error.what();
  }
}

TEST(UriTest, RefusesASocketPathThatDoesNotFitItsAddress) {
  EXPECT_NO_THROW(parseUri("unix:" + std::string(107, 'a')));
  EXPECT_THROW(parseUri("unix:" + std::string(108, 'a')),
               std::invalid_argument);
}

// Too long for a name's part, so that no name server is asked.
TEST(UriTest, AHostThatIsNotFoundIsNamedWithTheLookupsReason) {
  const std::string host(64, 'x');
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), "1", nullptr, &found);
  ASSERT_NE(error, 0);
  const std::string expected = host + ": " + ::gai_strerror(error);
  auto expectSaid = [&](auto attempt) {
    try {
      attempt();
      ADD_FAILURE() << "it was found";
    } catch (const std::exception& failure) {
      EXPECT_NE(std::string(failure.what()).find(expected), std::string::npos)
          << failure.what();
    }
  };
  expectSaid([&] { openTransport("tcp:" + host + ":1"); });
  expectSaid([&] { Listener listener(parseUri("tcp:" + host + ":0")); });
}

TEST(UriTest, ATransportOnADeviceTakesThePathAlone) {
  using apache::thrift::transport::TTransportException;
  try {
    TPcieTransport transport("pcie:/dev/lanecall0");
    FAIL() << "a folder \"pcie:\" was looked for";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::BAD_ARGS);
    EXPECT_NE(std::string(error.what()).find("the path alone"),
              std::string::npos)
        << error.what();
  }
}

TEST(UriTest, AClientNeedsAPort) {
  EXPECT_THROW(openTransport("tcp:localhost:0"),
               apache::thrift::transport::TTransportException);
}

}  // namespace
}  // namespace lanecall
