// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <lanecall/dma_engine.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace lanecall {
namespace {

// Whatever a device offers: a bound on what it makes us remember.
constexpr std::uint32_t kUnderWayMost = 4096;

// A channel has this share of them, if there are enough: what is under way is
// done together, so that others would wait until all of it is.
constexpr std::size_t kShare = 8;
constexpr std::size_t kEnough = 64;

std::size_t shareOf(std::size_t operations) {
  return operations < kEnough ? operations : operations / kShare;
}

constexpr std::size_t kPacketBytes =
    LANECALL_CARD_PACKET_MAX - sizeof(lanecall_card_frame);

bool is_error_of_dma(std::uint32_t error) {
  switch (error) {
    case LANECALL_ERR_NONE:
    case LANECALL_ERR_ACCESS:
    case LANECALL_ERR_RANGE:
    case LANECALL_ERR_REVOKED:
    case LANECALL_ERR_DMA:
    case LANECALL_ERR_RESOURCES:
      return true;
    default:
      return false;
  }
}

class ChannelDevice final : public CardDevice {
 public:
  ChannelDevice(std::shared_ptr<DmaEngine> engine, std::string name)
      : engine_(std::move(engine)), name_(std::move(name)) {}

  std::shared_ptr<CardBuffer> allocate(std::size_t bytes) override {
    return engine_->buffers().allocate(bytes);
  }
  CardSpace space() const override { return engine_->buffers().space(); }
  bool owns(const CardBuffer& buffer) const override {
    return engine_->buffers().owns(buffer);
  }
  void submit(DmaBatch batch, DmaCallback done) override {
    for (const DmaBatch::Operation& operation : batch.operations())
      if (operation.buffer && !owns(*operation.buffer))
        throw std::invalid_argument(name_ +
                                    ": a buffer of another card's memory; "
                                    "allocate it from this device");
    engine_->submit(lane_, std::move(batch), std::move(done));
  }
  void dropUnsent() override { engine_->dropUnsent(lane_); }
  bool isLost() const override { return engine_->isEnded(); }
  std::string name() const override { return name_; }

 private:
  const std::shared_ptr<DmaEngine> engine_;
  const std::string name_;
  const std::shared_ptr<DmaQueue::Lane> lane_ =
      std::make_shared<DmaQueue::Lane>();
};

}  // namespace

DmaEngine::DmaEngine(int socket, std::uint32_t operationsMost,
                     CardBuffers buffers, std::function<void()> awaitRoom)
    : socket_(socket),
      laneMost_(shareOf(std::min(operationsMost, kUnderWayMost))),
      buffers_(std::move(buffers)),
      awaitRoom_(std::move(awaitRoom)),
      slots_(std::min(operationsMost, kUnderWayMost)) {
  for (std::size_t i = slots_.size(); i > 0; --i)
    unused_.push_back(static_cast<std::uint32_t>(i - 1));
  operations_.reserve(kPacketBytes / sizeof(lanecall_dma_operation));
  extents_.reserve(kPacketBytes / sizeof(lanecall_dma_extent));
}

std::shared_ptr<CardDevice> DmaEngine::makeDevice(std::string name) {
  return std::make_shared<ChannelDevice>(shared_from_this(), std::move(name));
}

// ---- To the device

void DmaEngine::submit(const std::shared_ptr<DmaQueue::Lane>& lane,
                       DmaBatch batch, DmaCallback done) {
  auto work = std::make_shared<DmaWork>();
  work->batch = std::move(batch);
  work->done = std::move(done);
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.push(lane, work);
  if (!isEnded()) return pump();
  endAll();
  tell(std::move(lock));
}

void DmaEngine::dropUnsent(const std::shared_ptr<DmaQueue::Lane>& lane) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (const DmaPart& part : queue_.takeAll(lane))
    note(part, DmaError::kRevoked, part.moved);
  tell(std::move(lock));
}

void DmaEngine::pump() {
  while (!awaitsRoom_ && !isEnded() && fillPacket())
    if (!sendPacket()) return;
}

// As many operations as there are, as the device takes, as fit.
bool DmaEngine::fillPacket() {
  operations_.clear();
  extents_.clear();
  std::size_t left = kPacketBytes;
  while (!unused_.empty() &&
         left >= sizeof(lanecall_dma_operation) + sizeof(lanecall_dma_extent) &&
         queue_.passOver(laneMost_)) {
    const std::size_t room =
        (left - sizeof(lanecall_dma_operation)) / sizeof(lanecall_dma_extent);
    // Only what would fill a packet of its own is sent in parts.
    if (queue_.next().extents > room && !operations_.empty()) break;
    const std::size_t extents = std::min(queue_.next().extents, room);
    addToPacket(extents);
    left -=
        sizeof(lanecall_dma_operation) + extents * sizeof(lanecall_dma_extent);
  }
  return !operations_.empty();
}

// So many extents of the next part, which has at least as many.
void DmaEngine::addToPacket(std::size_t extents) {
  const std::uint32_t number = unused_.back();
  unused_.pop_back();
  Slot& slot = slots_[number];
  slot.isUsed = true;
  slot.extents = extents;
  slot.bytes = 0;
  std::tie(slot.lane, slot.part) = queue_.take();
  ++slot.lane->underWay;
  const lanecall_dma_extent* const begin = slot.part.begin();
  for (std::size_t i = 0; i < extents; ++i)
    slot.bytes += le64toh(begin[i].bytes);
  extents_.insert(extents_.end(), begin, begin + extents);
  const DmaBatch::Operation& what = slot.part.what();
  operations_.push_back(
      {.id = htole64(std::uint64_t{slot.generation} << 32 | number),
       .key = htole64(what.key),
       .type = htole32(what.type),
       .extents = htole32(static_cast<std::uint32_t>(extents)),
       .reserved = 0});
}

// False: not now, or never.
bool DmaEngine::sendPacket() {
  lanecall_card_frame frame{};
  frame.type = htole32(LANECALL_CARD_DMA);
  frame.batch.operations =
      htole32(static_cast<std::uint32_t>(operations_.size()));
  frame.batch.extents = htole32(static_cast<std::uint32_t>(extents_.size()));
  iovec parts[] = {
      {&frame, sizeof frame},
      {operations_.data(), operations_.size() * sizeof operations_[0]},
      {extents_.data(), extents_.size() * sizeof extents_[0]}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = std::size(parts);
  ssize_t sent;
  do {
    sent = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return true;
  awaitsRoom_ = true;
  if (errno == EAGAIN)
    awaitRoom_();
  else
    ::shutdown(socket_, SHUT_RDWR);  // the session's thread sees the end
  return false;
}

bool DmaEngine::awaitsRoom() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return awaitsRoom_;
}

void DmaEngine::roomAgain() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!awaitsRoom_ || isEnded()) return;
  awaitsRoom_ = false;
  if (sendPacket()) pump();
}

// ---- From the device

const char* DmaEngine::takeDone(const lanecall_card_frame& frame,
                                std::span<const std::uint8_t> payload) {
  const std::size_t count = le32toh(frame.batch.operations);
  if (count == 0 || frame.batch.extents != 0 ||
      payload.size() != count * sizeof(lanecall_dma_done))
    return "DONE of another length than it says";
  std::lock_guard<std::mutex> lock(mutex_);
  for (std::size_t i = 0; i < count; ++i) {
    lanecall_dma_done done;
    std::memcpy(&done, payload.data() + i * sizeof done, sizeof done);
    if (const char* wrong = finish(done)) return wrong;
  }
  return nullptr;
}

// What is wrong with it, else null.
const char* DmaEngine::finish(const lanecall_dma_done& done) {
  const std::uint64_t bytes = le64toh(done.bytes);
  const std::uint32_t error = le32toh(done.error);
  Slot* const slot = slotOf(le64toh(done.id));
  if (!slot) return "DONE of an operation that is not under way";
  if (!is_error_of_dma(error)) return "DONE with an unknown error";
  if (bytes > slot->bytes) return "DONE of more bytes than it was to move";
  if (!error && bytes < slot->bytes)
    return "DONE of fewer bytes than it was to move, and no error";
  DmaPart part = std::move(slot->part);
  const auto lane = slot->lane;
  const std::size_t extents = slot->extents;
  free(*slot);
  part.moved += bytes;
  if (error || extents == part.extents) {
    note(part, static_cast<DmaError>(error), part.moved);
    return nullptr;
  }
  part.from += extents;
  part.extents -= extents;
  queue_.pushRest(lane, std::move(part));
  return nullptr;
}

DmaEngine::Slot* DmaEngine::slotOf(std::uint64_t id) {
  const std::uint64_t number = id & 0xffffffff;
  if (number >= slots_.size()) return nullptr;
  Slot& slot = slots_[number];
  return slot.isUsed && slot.generation == id >> 32 ? &slot : nullptr;
}

void DmaEngine::free(Slot& slot) {
  slot.isUsed = false;
  ++slot.generation;
  slot.part = {};
  if (slot.lane) --slot.lane->underWay;
  slot.lane = {};
  unused_.push_back(static_cast<std::uint32_t>(&slot - slots_.data()));
}

void DmaEngine::note(const DmaPart& part, DmaError error, std::uint64_t bytes) {
  if (part.work->fresh.empty()) news_.push_back(part.work);
  part.work->fresh.push_back({part.operation, error, bytes});
}

void DmaEngine::deliver() {
  std::unique_lock<std::mutex> lock(mutex_);
  pump();
  tell(std::move(lock));
}

// Calls back without the lock: who is called may submit.
void DmaEngine::tell(std::unique_lock<std::mutex> lock) {
  struct Told {
    std::shared_ptr<DmaWork> work;
    std::vector<DmaResult> results;
  };
  std::vector<Told> told;
  told.reserve(news_.size());
  for (auto& work : news_)
    told.push_back({work, std::exchange(work->fresh, {})});
  news_.clear();
  lock.unlock();
  for (Told& one : told) {
    callBack(one.work->done, one.results);
    one = {};  // its buffers, before the next is told
  }
}

// ---- The end

void DmaEngine::end() {
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.store(true, std::memory_order_release);
  for (Slot& slot : slots_) {
    if (!slot.isUsed) continue;
    // The device lets finish what it moves at this moment: nobody else's bytes
    // should come there, or be taken for those that were.
    if (slot.part.what().buffer) buffers_.avoid(*slot.part.what().buffer);
    note(slot.part, DmaError::kReset, 0);
    free(slot);
  }
  endAll();
  tell(std::move(lock));
}

// All that waits.
void DmaEngine::endAll() {
  while (!queue_.empty()) note(queue_.take().second, DmaError::kReset, 0);
}

}  // namespace lanecall
