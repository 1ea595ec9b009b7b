// SPDX-License-Identifier: Apache-2.0
//
// The server of a card's channels: one thread watches all of them, looking at
// their rings in memory, and runs the calls that come, inline. 64 channels do
// not need 64 threads, and a call does not need a switch of threads.
//
// - While there is work the thread spins (ServerOptions::spin); when there is
//   none it asks every client to ring, and sleeps. Idle channels cost no CPU.
// - Round robin, one call a turn: a client that sends without end delays the
//   others by its share only.
// - One call must not hold up the others: a thread that has to wait in the
//   middle of a message, or has been in a call for some milliseconds, loses the
//   lead to another thread, made if there is none, and comes back to it as a
//   spare one; so does one whose handler says that it will wait
//   (lanecall/handler_wait.h). So there are at most as many threads as calls
//   that take long. Making a handler, and destroying it, counts as a call.
// - With cardThreads > 1, so many calls run at the same time wherever several
//   channels have work, however short the calls are.
//
// Limits, timeouts, log and stop() are Server's; see there.
#ifndef LANECALL_POLLING_SERVER_H
#define LANECALL_POLLING_SERVER_H

#include <lanecall/server.h>

#include <memory>
#include <string>
#include <vector>

namespace lanecall {

class PollingServer {
 public:
  // Listens at all of options.card; options.listen is another server's. Throws
  // std::invalid_argument or std::runtime_error, one line each.
  PollingServer(ServerOptions options, ProcessorMaker maker,
                std::shared_ptr<spdlog::logger> log);
  ~PollingServer();
  PollingServer(const PollingServer&) = delete;
  PollingServer& operator=(const PollingServer&) = delete;

  // "card:unix:/path" each; devices may attach from now on.
  std::vector<std::string> addresses() const;

  // As Server's. Throws std::system_error if no thread can be made. One that
  // cannot be made later delays clients, until another call is done or one can,
  // but not stop().
  bool serve();
  void stop();

 private:
  class Poller;
  // Shared with its threads, which may outlive serve().
  const std::shared_ptr<Poller> poller_;
};

}  // namespace lanecall

#endif
