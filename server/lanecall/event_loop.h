// SPDX-License-Identifier: Apache-2.0
//
// One thread's descriptors and what to do when they are ready. Internal to the
// server library.
//
// All calls are the loop's own thread's, but stop() and the inbox: by it other
// threads have the loop do something. The inbox may outlive the loop; what it
// gets then is dropped.
#ifndef LANECALL_EVENT_LOOP_H
#define LANECALL_EVENT_LOOP_H

#include <lanecall/descriptor.h>
#include <lanecall/wake.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace lanecall {

class EventLoop {
 public:
  // Gets the epoll events that came. May be called without need.
  using Handler = std::function<void(std::uint32_t events)>;

  class Inbox {
   public:
    void post(std::function<void()> task);

   private:
    friend EventLoop;
    void close();
    std::vector<std::function<void()>> take();

    std::mutex mutex_;  // guards both below
    bool closed_ = false;
    std::vector<std::function<void()>> tasks_;
    Wake ready_;
  };

  EventLoop();  // throws std::system_error
  ~EventLoop();

  // Level-triggered. Throws std::system_error.
  void watch(int fd, std::uint32_t events, Handler handler);
  void change(int fd, std::uint32_t events);
  // Before the descriptor is closed. Its handler may call this.
  void forget(int fd);

  void run();

  // Any thread.
  void stop();
  std::shared_ptr<Inbox> inbox() const { return inbox_; }

 private:
  Descriptor epoll_;
  std::shared_ptr<Inbox> inbox_;
  // Shared, so that a handler that forgets itself is still there to return to.
  std::map<int, std::shared_ptr<Handler>> handlers_;
  bool running_ = true;
};

}  // namespace lanecall

#endif
