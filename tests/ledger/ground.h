// SPDX-License-Identifier: Apache-2.0
//
// The ground of every test: a server that keeps a ledger, one for its clients,
// and the comparison of the two.
#ifndef LANECALL_TESTS_LEDGER_GROUND_H
#define LANECALL_TESTS_LEDGER_GROUND_H

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "book.h"
#include "checker.h"
#include "harness.h"
#include "load.h"
#include "random.h"
#include "settings.h"

namespace lanecall::ledger {

class Ground : public ::testing::Test {
 protected:
  Ground();
  ~Ground() override;

  void SetUp() override { begin(); }
  void TearDown() override {
    if (server_) killServer();  // the test has failed
  }

  // Empty ledgers, and a server.
  void begin(const std::vector<std::string>& arguments = {});
  // Ends the server in order and compares the ledgers: all must be well.
  Verdict settle();

  void startServer(const std::vector<std::string>& arguments = {});
  void killServer();
  int server() const { return server_->id; }
  test::Harness& harness() { return *harness_; }

  // Where clients go to.
  std::string uri() const;
  // Past the device, by TCP.
  std::unique_ptr<LedgerClient> control() const;

  const Book& book() const { return *book_; }
  const Channels& channels() const { return channels_; }
  Random& random() { return random_; }

  // Lets a time pass, so that what follows comes at any point of a call.
  void passSomeTime();

 private:
  std::string controlUri() const;
  std::vector<Entry> serversEntries();

  std::unique_ptr<test::Harness> harness_;
  std::optional<test::Harness::Server> server_;
  std::string ledger_;  // the server's file
  std::unique_ptr<Book> book_;
  const Channels channels_;
  Random random_;
};

}  // namespace lanecall::ledger

#endif
