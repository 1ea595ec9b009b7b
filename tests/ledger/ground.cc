// SPDX-License-Identifier: Apache-2.0
#include "ground.h"

#include <lanecall/uri.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

namespace lanecall::ledger {
namespace {

// Past the device.
constexpr const char* kControl = "tcp:127.0.0.1:0";

constexpr int kMostPauseUs = 3'000;

std::unique_ptr<test::Harness> makeHarness() {
  if (settings().control.empty()) return test::localHarness(settings().server);
  return test::remoteHarness(settings().control, nullptr);
}

}  // namespace

Ground::Ground()
    : harness_(makeHarness()), channels_(1), random_(settings().seed) {}

Ground::~Ground() = default;

void Ground::begin(const std::vector<std::string>& arguments) {
  static int ledgers = 0;
  ledger_ = settings().ledger + std::to_string(++ledgers);
  book_ = settings().port.empty() ? std::make_unique<Book>()
                                  : std::make_unique<Book>(settings().port);
  startServer(arguments);
}

void Ground::startServer(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--ledger",    ledger_,
                                  "--log-level", "error",
                                  "--framing",   name(settings().framing)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  server_ = harness_->start({kControl, settings().listen}, all);
}

void Ground::killServer() {
  harness_->kill(server());
  server_.reset();
}

std::string Ground::controlUri() const {
  Uri uri = parseUri(server_->addresses.front());
  if (!settings().control.empty()) uri.host = parseUri(settings().control).host;
  return uri.str();
}

std::string Ground::uri() const {
  return settings().to == "tcp" ? controlUri() : settings().to;
}

std::unique_ptr<LedgerClient> Ground::control() const {
  ClientOptions options = patient();
  options.framing = settings().framing;
  return std::make_unique<LedgerClient>(
      protocolOn(openTransport(controlUri(), options), options));
}

void Ground::passSomeTime() {
  std::this_thread::sleep_for(
      std::chrono::microseconds(random_.below(kMostPauseUs)));
}

std::vector<Entry> Ground::serversEntries() {
  std::vector<Entry> all;
  auto client = control();
  for (;;) {
    std::string raw;
    client->entries(raw, static_cast<std::int64_t>(all.size()));
    if (raw.empty()) return all;
    std::vector<Entry> some(raw.size() / sizeof(Entry));
    std::memcpy(some.data(), raw.data(), some.size() * sizeof(Entry));
    all.insert(all.end(), some.begin(), some.end());
  }
}

// Calls whose clients have gone may still run: the server has to end before its
// ledger is read, by another one.
Verdict Ground::settle() {
  EXPECT_EQ(harness_->stop(server()), 0) << "the server's status";
  startServer();
  Verdict verdict;
  {
    const std::vector<Entry> servers = serversEntries();
    std::vector<Entry> clients;
    for (std::vector<Entry> some;
         !(some = book_->read(clients.size(), 1 << 14)).empty();)
      clients.insert(clients.end(), some.begin(), some.end());
    verdict = check(clients, servers);
  }
  EXPECT_EQ(harness_->stop(server()), 0) << "the server's status";
  server_.reset();
  for (const std::string& fault : verdict.faults) ADD_FAILURE() << fault;
  std::printf("%s\n", verdict.text().c_str());
  return verdict;
}

}  // namespace lanecall::ledger
