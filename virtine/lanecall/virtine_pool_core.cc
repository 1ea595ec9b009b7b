// SPDX-License-Identifier: Apache-2.0
#include <lanecall/virtine_pool_core.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <utility>

namespace lanecall {
namespace {

// No wait for the service is longer: what others release meanwhile is sent
// after it.
constexpr int kWaitMs = 20;

VirtinePoolOptions checked(VirtinePoolOptions options) {
  auto refuse = [](const char* what) {
    throw std::invalid_argument(std::string("a virtine pool: ") + what);
  };
  if (!options.batch) refuse("a batch has at least one shell");
  if (!options.reapAtLeast) refuse("reapAtLeast is at least 1");
  if (options.lowWater > options.highWater)
    refuse("lowWater is at most highWater");
  if (!options.most || options.most < options.highWater)
    refuse("most is at least 1, and at least highWater");
  if (options.cleanTimeoutMs < 1) refuse("cleanTimeoutMs is at least 1");
  if (!options.mostLate) refuse("mostLate is at least 1");
  if (!options.say)
    options.say = [](const std::string& line) {
      std::fprintf(stderr, "%s\n", line.c_str());
    };
  return options;
}

int millisecondsTo(std::chrono::steady_clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      end - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

bool same_bytes(std::span<const std::uint8_t> a,
                std::span<const std::uint8_t> b) {
  return a.size() == b.size() &&
         (a.data() == b.data() || std::equal(a.begin(), a.end(), b.begin()));
}

}  // namespace

class VirtinePoolCore::Word {
 public:
  Word(VirtinePoolCore& pool, Lock& lock) : pool_(pool) {
    pool_.changed_.wait(lock, [&] { return !pool_.talking_; });
    pool_.talking_ = true;
  }
  ~Word() {
    pool_.talking_ = false;
    pool_.changed_.notify_all();
  }
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

 private:
  VirtinePoolCore& pool_;
};

class VirtinePoolCore::Waiter {
 public:
  explicit Waiter(VirtinePoolCore& pool) : pool_(pool) { ++pool_.waiting_; }
  ~Waiter() { --pool_.waiting_; }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

 private:
  VirtinePoolCore& pool_;
};

class VirtinePoolCore::Unlocked {
 public:
  explicit Unlocked(Lock& lock) : lock_(lock) { lock_.unlock(); }
  ~Unlocked() { lock_.lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  Lock& lock_;
};

VirtinePoolCore::VirtinePoolCore(VirtinePool::Maker maker,
                                 VirtinePool::Connector connector,
                                 VirtinePoolOptions options)
    : make_(std::move(maker)),
      connect_(std::move(connector)),
      options_(checked(std::move(options))) {
  // The first shell shows what the image is.
  do {
    ready_.push_back(make());
  } while (ready_.size() < options_.highWater);
  shells_ = counters_.made = ready_.size();
  if (!connect_) return;
  link_ = connect();
  for (const ShellPtr& shell : ready_) link_->attach(*shell);
  connected_ = true;
}

std::unique_ptr<CleaningLink> VirtinePoolCore::connect() {
  return std::make_unique<CleaningLink>(++links_, connect_(), image_,
                                        memoryBytes_, options_.verify);
}

VirtinePoolCore::ShellPtr VirtinePoolCore::make() {
  std::unique_ptr<Shell> shell = make_();
  if (!shell) throw std::invalid_argument("a virtine pool's maker made none");
  const auto image = shell->image();
  if (!image_) {
    memoryBytes_ = shell->memory().size();
    if (image.empty() || image.size() > memoryBytes_)
      throw std::invalid_argument(
          "a virtine pool's shells have an image of " +
          std::to_string(image.size()) + " bytes in memory of " +
          std::to_string(memoryBytes_) + "; it is at least 1, and fits");
    image_ = std::make_shared<ImageBytes>(image.begin(), image.end());
  }
  if (shell->memory().size() != memoryBytes_ || !same_bytes(image, *image_))
    throw std::invalid_argument(
        "a virtine pool's shells differ; make all of one image and size");
  return std::make_unique<PooledShell>(std::move(shell), image_);
}

// ---- What is to be done; with the lock
// ----------------------------------------

std::size_t VirtinePoolCore::shellsOnTheirWay() const {
  return dirty_.size() + sending_.size() + cleaning_.size() - late_ +
         accepting_;
}

bool VirtinePoolCore::canTalk() const {
  return connected_ && !talking_ && (!dirty_.empty() || !cleaning_.empty());
}

// Each thread that waits counts on one that is on its way.
bool VirtinePoolCore::canMake() const {
  return shells_ < options_.most && waiting_ >= shellsOnTheirWay();
}

bool VirtinePoolCore::hasToSend() const {
  return connected_ && !dirty_.empty() && link_->roomFor(cleaning_.size());
}

// A whole batch; fewer rather than none, if shells run short.
bool VirtinePoolCore::shouldSend() const {
  return hasToSend() &&
         (dirty_.size() >= options_.batch ||
          (ready_.size() <= options_.lowWater && cleaning_.size() == late_));
}

VirtinePoolCore::ShellPtr VirtinePoolCore::takeReady() {
  if (ready_.empty()) return nullptr;
  ShellPtr shell = std::move(ready_.back());
  ready_.pop_back();
  return shell;
}

// What nobody else will clean.
VirtinePoolCore::ShellPtr VirtinePoolCore::takeUncleaned() {
  auto& from = failed_.empty() && !connected_ ? dirty_ : failed_;
  if (from.empty()) return nullptr;
  ShellPtr shell = std::move(from.front());
  from.pop_front();
  return shell;
}

// ---- For everybody
// --------------------------------------------------------------

VirtinePoolCore::ShellPtr VirtinePoolCore::acquire(int timeoutMs) {
  Lock lock(mutex_);
  ShellPtr shell = takeReady();
  if (!shell) shell = waitForOne(lock, timeoutMs);
  if (!shell) {
    ++counters_.exhausted;
    return nullptr;
  }
  ++counters_.acquired;
  ++counters_.out;
  return afterReset(lock, std::move(shell));
}

VirtinePoolCore::ShellPtr VirtinePoolCore::waitForOne(Lock& lock,
                                                      int timeoutMs) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeoutMs);
  for (bool asked = false;;) {
    if (ShellPtr shell = takeReady()) return shell;
    if (ShellPtr shell = takeUncleaned()) {
      cleanHere(lock, *shell);
      if (!shell->isGivenUp) return shell;
      destroy(lock, std::move(shell));
      continue;
    }
    if (canMake()) return makeOne(lock);
    const int left = millisecondsTo(end);
    Waiter waiter(*this);
    if (canTalk() && !(asked && left == 0)) {
      if (!asked) ++counters_.waited;
      asked = true;
      talk(lock, true, std::min(left, kWaitMs));
    } else if (left == 0) {
      return nullptr;
    } else {
      changed_.wait_until(lock, end);
    }
  }
}

void VirtinePoolCore::release(ShellPtr shell) {
  Lock lock(mutex_);
  --counters_.out;
  ++counters_.released;
  if (closed_) return;
  if (shell->dirty().empty())
    ready_.push_back(std::move(shell));
  else
    dirty_.push_back(std::move(shell));
  if (!talking_ && shouldSend()) talk(lock, false, 0);
  if (waiting_) changed_.notify_all();
}

void VirtinePoolCore::reconnect() {
  Lock lock(mutex_);
  Word word(*this, lock);
  if (connected_ || closed_ || !connect_) return;
  std::unique_ptr<CleaningLink> link;
  {
    Unlocked unlocked(lock);
    link = connect();
  }
  link_ = std::move(link);
  connected_ = true;
}

VirtinePoolCounters VirtinePoolCore::counters() const {
  Lock lock(mutex_);
  VirtinePoolCounters now = counters_;
  now.ready = ready_.size();
  now.dirty = dirty_.size();
  now.cleaning = sending_.size() + cleaning_.size() - late_;
  now.quarantine = failed_.size() + late_;
  now.connected = connected_;
  now.byReference = connected_ && link_->isByReference();
  return now;
}

void VirtinePoolCore::close() {
  Lock lock(mutex_);
  Word word(*this, lock);
  closed_ = true;
  connected_ = false;
  for (auto& [ticket, cleaning] : cleaning_) letGo(*cleaning.shell);
  cleaning_.clear();
  late_ = 0;
  ready_.clear();
  dirty_.clear();
  failed_.clear();
  link_.reset();
}

// ---- A shell for one thread
// -----------------------------------------------------

VirtinePoolCore::ShellPtr VirtinePoolCore::afterReset(Lock& lock,
                                                      ShellPtr shell) {
  try {
    Unlocked unlocked(lock);
    shell->shell().reset();
    return shell;
  } catch (...) {
    --counters_.acquired;
    --counters_.out;
    if (shell->attachment) {
      Word word(*this, lock);
      detach(lock, *shell);
    }
    destroy(lock, std::move(shell));
    throw;
  }
}

VirtinePoolCore::ShellPtr VirtinePoolCore::makeOne(Lock& lock) {
  ++shells_;
  try {
    ShellPtr shell;
    {
      Unlocked unlocked(lock);
      std::lock_guard<std::mutex> one(making_);
      shell = make();
    }
    ++counters_.made;
    return shell;
  } catch (...) {
    --shells_;
    throw;
  }
}

void VirtinePoolCore::cleanHere(Lock& lock, PooledShell& shell) {
  if (shell.attachment) {
    Word word(*this, lock);
    detach(lock, shell);
  }
  if (shell.isGivenUp) return;
  {
    Unlocked unlocked(lock);
    shell.cleanHere();
  }
  ++counters_.cleanedHere;
}

// ---- With the word
// ----------------------------------------------------------------

// toWait: for a shell that is at the service.
void VirtinePoolCore::talk(Lock& lock, bool toWait, int waitMs) {
  Word word(*this, lock);
  try {
    sendAllDue(lock);
    if (toWait && !cleaning_.empty()) {
      collect(lock, waitMs);
      sendAllDue(lock);
      // Whatever the service is busy with: somebody waits.
      if (ready_.empty() && hasToSend()) send(lock);
    }
    destroySurplus(lock);
  } catch (const std::exception& error) {
    lose(lock, error.what());
  }
}

void VirtinePoolCore::sendAllDue(Lock& lock) {
  while (shouldSend()) send(lock);
}

void VirtinePoolCore::send(Lock& lock) {
  const std::size_t count = std::min(
      {dirty_.size(), options_.batch, link_->roomFor(cleaning_.size())});
  for (std::size_t i = 0; i < count; ++i) {
    sending_.push_back(std::move(dirty_.front()));
    dirty_.pop_front();
  }
  attachAll(lock);
  if (sending_.empty()) return;
  std::vector<virtine::Ticket> tickets;
  try {
    Unlocked unlocked(lock);
    tickets = link_->submit(sending_);
  } catch (const CleaningRefused& refusal) {
    for (ShellPtr& shell : std::exchange(sending_, {})) fail(std::move(shell));
    return sayFailed(lock, refusal.what());
  }
  const auto due =
      Clock::now() + std::chrono::milliseconds(options_.cleanTimeoutMs);
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    auto [at, isNew] = cleaning_.try_emplace(tickets[i]);
    if (!isNew) throw std::runtime_error("the service gave out a ticket twice");
    at->second = {std::move(sending_[i]), due};
  }
  ++counters_.batches;
  counters_.submitted += sending_.size();
  sending_.clear();
}

void VirtinePoolCore::attachAll(Lock& lock) {
  std::vector<std::string> refusals(sending_.size());
  {
    Unlocked unlocked(lock);
    for (std::size_t i = 0; i < sending_.size(); ++i) {
      try {
        link_->attach(*sending_[i]);
      } catch (const CleaningRefused& refusal) {
        refusals[i] = refusal.what();
      }
    }
  }
  std::string why;
  for (std::size_t i = sending_.size(); i-- > 0;) {
    if (refusals[i].empty()) continue;
    why = refusals[i];
    fail(std::move(sending_[i]));
    sending_.erase(sending_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (!why.empty()) sayFailed(lock, why);
}

void VirtinePoolCore::collect(Lock& lock, int waitMs) {
  const std::size_t atMost = std::min(cleaning_.size(), link_->reapLimit());
  const std::size_t inTime = std::max<std::size_t>(cleaning_.size() - late_, 1);
  const std::size_t atLeast = std::min({options_.reapAtLeast, inTime, atMost});
  Completions completions;
  {
    Unlocked unlocked(lock);
    completions = link_->reap(atLeast, atMost, waitMs);
  }
  sortOut(lock, completions);
  // Else there may be more that have completed.
  if (completions.size() < atMost) markLate(lock);
}

void VirtinePoolCore::sortOut(Lock& lock, const Completions& completions) {
  struct Done {
    ShellPtr shell;
    const virtine::Completion& said;
    std::string why;  // it is not clean
  };
  std::vector<Done> all;
  all.reserve(completions.size());
  bool isStrange = false;
  for (const virtine::Completion& said : completions) {
    auto at = cleaning_.find(said.ticket);
    if (at == cleaning_.end()) {
      isStrange = true;
      continue;
    }
    late_ -= at->second.late;
    all.push_back({std::move(at->second.shell), said,
                   at->second.late ? "it took too long" : ""});
    cleaning_.erase(at);
  }
  accepting_ = all.size();
  {
    Unlocked unlocked(lock);
    for (Done& done : all)
      if (done.why.empty())
        done.why = CleaningLink::accept(*done.shell, done.said);
  }
  accepting_ = 0;
  std::string why;
  for (Done& done : all) {
    if (done.why.empty()) {
      countCleaned(done.said.result);
      ready_.push_back(std::move(done.shell));
    } else {
      why = done.why;
      fail(std::move(done.shell));
    }
  }
  if (isStrange)
    throw std::runtime_error(
        "the service completed what it was not asked for, or twice");
  if (!why.empty()) sayFailed(lock, why);
}

void VirtinePoolCore::countCleaned(const virtine::CleanResult& result) {
  ++counters_.cleaned;
  counters_.restoredBytes += result.restored;
  counters_.zeroedBytes += result.zeroed;
}

void VirtinePoolCore::markLate(Lock& lock) {
  const auto now = Clock::now();
  std::size_t more = 0;
  for (auto& [ticket, cleaning] : cleaning_) {
    if (cleaning.late || now < cleaning.due) continue;
    cleaning.late = true;
    ++more;
  }
  late_ += more;
  counters_.late += more;
  if (late_ >= options_.mostLate || (late_ == shells_ && !canMake()))
    throw std::runtime_error(std::to_string(late_) +
                             " cleans have not completed in time");
  if (more)
    say(lock,
        std::to_string(more) +
            " cleans take too long; their shells stay in quarantine until "
            "the device is done with them");
}

void VirtinePoolCore::destroySurplus(Lock& lock) {
  while (ready_.size() > options_.highWater) {
    ShellPtr shell = takeReady();
    detach(lock, *shell);
    destroy(lock, std::move(shell));
  }
}

void VirtinePoolCore::destroy(Lock& lock, ShellPtr shell) {
  --shells_;
  ++counters_.destroyed;
  Unlocked unlocked(lock);
  shell.reset();
}

// Even if the service is lost by it.
void VirtinePoolCore::detach(Lock& lock, PooledShell& shell) {
  try {
    Unlocked unlocked(lock);
    if (link_)
      link_->detach(shell);
    else
      letGo(shell);
  } catch (const std::exception& error) {
    lose(lock, error.what());
  }
}

void VirtinePoolCore::fail(ShellPtr shell) {
  ++counters_.failed;
  shell->setAllDirty();
  failed_.push_back(std::move(shell));
}

template <typename Shells>
void VirtinePoolCore::moveLent(Shells& from, std::vector<ShellPtr>& to) {
  for (ShellPtr& shell : from)
    if (shell->attachment && shell->attachment->region.isLent())
      to.push_back(std::move(shell));
  std::erase(from, nullptr);
}

// What is lent may be written to until it was taken back, whatever the service
// has said of it: also what seems to be clean.
void VirtinePoolCore::lose(Lock& lock, const std::string& why) {
  if (!connected_) return;
  connected_ = false;
  ++counters_.losses;
  std::vector<ShellPtr> there = std::exchange(sending_, {});
  std::erase(there, nullptr);  // those have tickets already
  for (auto& [ticket, cleaning] : std::exchange(cleaning_, {}))
    there.push_back(std::move(cleaning.shell));
  moveLent(ready_, there);
  moveLent(dirty_, there);
  moveLent(failed_, there);
  late_ = 0;
  accepting_ = there.size();
  {
    Unlocked unlocked(lock);
    for (const ShellPtr& shell : there) letGo(*shell);
    link_.reset();
  }
  accepting_ = 0;
  for (ShellPtr& shell : there) {
    shell->setAllDirty();
    failed_.push_back(std::move(shell));
  }
  say(lock, "the service is lost (" + why +
                "); shells are cleaned by memcpy until it is connected again");
}

// ---- What the program is told
// -----------------------------------------------------

// Ever more seldom: what fails now and then may fail each time.
void VirtinePoolCore::sayFailed(Lock& lock, const std::string& why) {
  if (counters_.failed < sayFailedAt_) return;
  sayFailedAt_ = 2 * counters_.failed;
  say(lock,
      std::to_string(counters_.failed) +
          " cleans failed so far, and were made good by memcpy; the last: " +
          why);
}

void VirtinePoolCore::say(Lock& lock, const std::string& line) {
  Unlocked unlocked(lock);
  options_.say("virtine pool: " + line);
}

}  // namespace lanecall
