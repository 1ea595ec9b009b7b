// SPDX-License-Identifier: Apache-2.0
// A server at the card port that does everything right, in a thread of its own:
// greets the device, accepts and places what it is offered, lets go of what is
// drained. What is read and written is the test's to say, by the Peers that it
// accepts, as from any server.
#ifndef LANECALL_TESTS_CARD_SERVICE_H
#define LANECALL_TESTS_CARD_SERVICE_H

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "card_firmware.h"
#include "test_server.h"

namespace lanecall::test {

class CardService {
 public:
  explicit CardService(const TempDir& dir);
  ~CardService();

  std::string card() const { return listener_.card(); }
  // The next channel that runs, as TestServer's next connection.
  std::optional<Peer> accept(const Deadline& deadline);
  int arrivals() const { return arrived_.get(); }  // readable: there is one
  // Leaves offers without an answer while set.
  void holdOffers(bool hold) { hold_ = hold; }

 private:
  struct Life;
  class End;

  std::shared_ptr<Life> takeRunning();
  void run();
  void greet();
  void loseSession();
  void forgetReleased();
  void handle(FirmwareFrame& got);
  void place(Life& life, const lanecall_card_busy* busy);

  FirmwareListener listener_;
  Descriptor quit_, arrived_;
  std::atomic<bool> hold_{false};

  // The thread's own.
  std::shared_ptr<FirmwareSession> session_;
  std::map<uint64_t, std::shared_ptr<Life>> lives_;  // by id

  std::mutex mutex_;
  std::deque<std::shared_ptr<Life>> running_;  // not accepted yet
  std::thread thread_;
};

}  // namespace lanecall::test

#endif
