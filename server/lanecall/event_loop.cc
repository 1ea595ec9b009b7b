// SPDX-License-Identifier: Apache-2.0
#include <lanecall/event_loop.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace lanecall {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

void EventLoop::Inbox::post(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return;
  tasks_.push_back(std::move(task));
  ready_.raise();
}

std::vector<std::function<void()>> EventLoop::Inbox::take() {
  std::lock_guard<std::mutex> lock(mutex_);
  ready_.clear();
  return std::exchange(tasks_, {});
}

void EventLoop::Inbox::close() {
  std::vector<std::function<void()>> dropped;  // without the lock
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  dropped.swap(tasks_);
}

EventLoop::EventLoop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      inbox_(std::make_shared<Inbox>()) {
  if (!epoll_.valid()) fail("epoll_create1");
  watch(inbox_->ready_.fd(), EPOLLIN, [this](std::uint32_t) {
    for (auto& task : inbox_->take()) task();
  });
}

EventLoop::~EventLoop() { inbox_->close(); }

void EventLoop::watch(int fd, std::uint32_t events, Handler handler) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0)
    fail("epoll_ctl");
  handlers_[fd] = std::make_shared<Handler>(std::move(handler));
}

void EventLoop::change(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0)
    fail("epoll_ctl");
}

void EventLoop::forget(int fd) {
  if (handlers_.erase(fd))
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::run() {
  std::array<epoll_event, 16> events;
  while (running_) {
    int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; ++i) {
      auto found = handlers_.find(events[i].data.fd);
      if (found == handlers_.end()) continue;
      auto handler = found->second;
      (*handler)(events[i].events);
    }
  }
}

void EventLoop::stop() {
  inbox_->post([this] { running_ = false; });
}

}  // namespace lanecall
