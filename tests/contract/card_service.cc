// SPDX-License-Identifier: Apache-2.0
#include "card_service.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace lanecall::test {
namespace {

struct Range {
  uint64_t start, end;
};

// The first place of that size that none of these reaches into.
uint64_t freePlace(const std::vector<Range>& used, uint64_t bytes,
                   uint64_t align) {
  for (uint64_t at = 0;;) {
    uint64_t next = at;
    for (const Range& r : used) {
      if (at < r.end && r.start < at + bytes) next = std::max(next, r.end);
    }
    if (next == at) return at;
    at = (next + align - 1) / align * align;
  }
}

void clear(int eventfd) {
  uint64_t count;
  while (read(eventfd, &count, sizeof count) == sizeof count) {
  }
}

}  // namespace

// One channel. The thread and the test meet here, under the mutex.
struct CardService::Life {
  Life(std::shared_ptr<FirmwareSession> session, uint64_t id)
      : session(std::move(session)), id(id) {}

  const std::shared_ptr<FirmwareSession> session;
  const uint64_t id;
  const Descriptor news{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

  // The thread's own: its places, and what the device says is in use.
  std::vector<Range> used, avoided;

  std::mutex mutex;
  Descriptor doorbell, interrupt;  // until there are rings
  lanecall_card_place wanted{};
  lanecall_places places{};
  std::optional<FirmwareChannel> rings;
  bool draining = false;
  bool ended = false;  // END was sent
  bool over = false;   // the id is closed; its memory is another's

  bool send(uint32_t type, uint32_t error = 0) {
    return session->send(firmwareFrame(type, id, error));
  }
  // In order, or with that error; a drained one is let go of instead.
  void end(uint32_t error) {
    if (over || ended) return;
    if (draining) return release();
    ended = true;
    send(LANECALL_CARD_END, error);
  }
  void release() {
    over = true;
    send(LANECALL_CARD_RELEASED);
  }
  void drain() {
    draining = true;
    if (ended || !rings || rings->held() <= 0) release();
  }
  void tell() { eventfd_write(news.get(), 1); }
};

// The test's end.
class CardService::End final : public PeerEnd {
 public:
  explicit End(std::shared_ptr<Life> life) : life_(std::move(life)) {}
  ~End() override {
    std::lock_guard lock(life_->mutex);
    life_->end(LANECALL_ERR_NONE);
  }

  ssize_t trySend(std::span<const unsigned char> bytes) override {
    std::lock_guard lock(life_->mutex);
    if (life_->over || life_->ended) return -EPIPE;
    return checked(life_->rings->trySend(bytes));
  }

  ssize_t tryReceive(std::span<unsigned char> into) override {
    std::lock_guard lock(life_->mutex);
    if (life_->over || life_->ended) return 0;
    const ssize_t n = checked(life_->rings->tryReceive(into));
    if (n != -EAGAIN || !life_->draining) return n;
    life_->release();
    return 0;
  }

  std::vector<pollfd> waitFor(short events) override {
    std::lock_guard lock(life_->mutex);
    clear(life_->news.get());
    if (life_->over || life_->ended || life_->draining) return {};
    life_->rings->clearDoorbell();
    if ((events & POLLIN) && life_->rings->armReceive() != 0) return {};
    if ((events & POLLOUT) && life_->rings->armSend() != 0) return {};
    return {{life_->rings->doorbell(), POLLIN, 0},
            {life_->news.get(), POLLIN, 0}};
  }

  void abort() override {
    std::lock_guard lock(life_->mutex);
    life_->end(LANECALL_ERR_RESET);
  }

 private:
  // A driver that lies about its indices is told so.
  ssize_t checked(__s64 moved) {
    if (moved < 0) {
      life_->end(LANECALL_ERR_PROTOCOL);
      return -EPROTO;
    }
    return moved > 0 ? static_cast<ssize_t>(moved) : -EAGAIN;
  }

  std::shared_ptr<Life> life_;
};

CardService::CardService(const TempDir& dir)
    : listener_(dir),
      quit_(eventfd(0, EFD_CLOEXEC)),
      arrived_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)),
      thread_([this] { run(); }) {}

CardService::~CardService() {
  eventfd_write(quit_.get(), 1);
  thread_.join();
  loseSession();
}

// Passes over those that the driver has closed since.
std::optional<Peer> CardService::accept(const Deadline& deadline) {
  for (;;) {
    pollfd p{.fd = arrived_.get(), .events = POLLIN, .revents = 0};
    if (poll(&p, 1, deadline.remainingMs()) <= 0) return std::nullopt;
    uint64_t one;
    if (read(arrived_.get(), &one, sizeof one) != sizeof one) continue;
    auto life = takeRunning();
    std::unique_lock lock(life->mutex);
    if (life->over) continue;
    lock.unlock();
    return Peer(std::make_unique<End>(std::move(life)));
  }
}

std::shared_ptr<CardService::Life> CardService::takeRunning() {
  std::lock_guard lock(mutex_);
  auto life = std::move(running_.front());
  running_.pop_front();
  return life;
}

void CardService::run() {
  for (;;) {
    pollfd p[] = {{quit_.get(), POLLIN, 0},
                  {session_ ? session_->fd() : listener_.fd(), POLLIN, 0}};
    if (poll(p, 2, -1) < 0) continue;
    if (p[0].revents) return;
    if (!session_) {
      greet();
    } else if (auto got = session_->receive(atOnce())) {
      handle(*got);
    } else {
      loseSession();
    }
  }
}

void CardService::greet() {
  session_ = listener_.accept(atOnce());
  if (session_ && !session_->greet(Deadline::in(20000))) session_.reset();
}

void CardService::loseSession() {
  for (auto& [id, life] : lives_) {
    std::lock_guard lock(life->mutex);
    life->over = true;
    life->tell();
  }
  lives_.clear();
  session_.reset();
}

// The test's ends release channels by themselves.
void CardService::forgetReleased() {
  std::erase_if(lives_, [](const auto& entry) {
    std::lock_guard lock(entry.second->mutex);
    return entry.second->over;
  });
}

void CardService::handle(FirmwareFrame& got) {
  const uint64_t id = got.frame.channel;
  if (got.frame.type == LANECALL_CARD_OFFER) {
    if (hold_ || got.descriptors.size() != 2) return;
    forgetReleased();
    auto life = std::make_shared<Life>(session_, id);
    life->doorbell = std::move(got.descriptors[0]);
    life->interrupt = std::move(got.descriptors[1]);
    life->send(LANECALL_CARD_ACCEPT);
    lives_[id] = life;
    return;
  }
  const auto found = lives_.find(id);
  if (found == lives_.end()) return;
  const auto life = found->second;
  std::lock_guard lock(life->mutex);
  switch (got.frame.type) {
    case LANECALL_CARD_PLACE:
      life->wanted = got.frame.place;
      return place(*life, nullptr);
    case LANECALL_CARD_BUSY:
      return place(*life, &got.frame.busy);
    case LANECALL_CARD_START: {
      life->rings.emplace(*life->session, life->wanted, life->places,
                          std::move(life->doorbell),
                          std::move(life->interrupt));
      std::lock_guard arrivals(mutex_);
      running_.push_back(life);
      eventfd_write(arrived_.get(), 1);
      return;
    }
    case LANECALL_CARD_DRAIN:
      life->drain();
      break;
    case LANECALL_CARD_CLOSE:
      life->over = true;
      break;
  }
  if (life->over) lives_.erase(found);
  life->tell();
}

// Called with the life's mutex held; of others only what is the thread's own is
// looked at.
void CardService::place(Life& life, const lanecall_card_busy* busy) {
  if (busy) {
    life.avoided.push_back({busy->offset, busy->offset + busy->bytes});
  }
  std::vector<Range> used = life.avoided;
  for (const auto& [id, other] : lives_) {
    if (other.get() == &life) continue;
    used.insert(used.end(), other->used.begin(), other->used.end());
  }
  life.used.clear();
  const uint32_t page = life.wanted.page_bytes;
  const auto take = [&](uint64_t bytes) {
    const uint64_t at = freePlace(used, bytes, page);
    used.push_back({at, at + bytes});
    life.used.push_back({at, at + bytes});
    return at;
  };
  life.places.index = take(lanecall_card_index_bytes(page));
  life.places.tx = take(lanecall_card_ring_bytes(life.wanted.tx_bytes, page));
  life.places.rx = take(lanecall_card_ring_bytes(life.wanted.rx_bytes, page));
  life.session->send(firmwarePlaced(life.id, life.places));
}

}  // namespace lanecall::test
