// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <lanecall/card_session.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

// Frames taken from one device before the others are looked at.
constexpr int kFramesInOneTurn = 64;

// Frames that may wait for a device that takes none: more than a device with
// all channels has to be told at a time.
constexpr std::size_t kUnsentMost = std::size_t{4} * LANECALL_MAX_CHANNELS;

// Rings of clients that ask for no others.
constexpr std::uint64_t kUsualRingBytes = 256 << 10;

// Why channels are declined.
constexpr char kNoDescriptors[] = "out of descriptors; see ulimit -n";
constexpr char kNoMemory[] =
    "card memory is full; give QEMU a larger card-memory=, or clients smaller "
    "rings";

// No frame has more descriptors.
constexpr std::size_t kDescriptorsMost = 2;

// The device broke the protocol.
class Breach : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

void require(bool kept, const std::string& otherwise) {
  if (!kept) throw Breach(otherwise);
}

const char* name(std::uint32_t type) {
  switch (type) {
    case LANECALL_CARD_HELLO:
      return "HELLO";
    case LANECALL_CARD_OFFER:
      return "OFFER";
    case LANECALL_CARD_PLACE:
      return "PLACE";
    case LANECALL_CARD_START:
      return "START";
    case LANECALL_CARD_BUSY:
      return "BUSY";
    case LANECALL_CARD_DRAIN:
      return "DRAIN";
    case LANECALL_CARD_CLOSE:
      return "CLOSE";
    case LANECALL_CARD_DONE:
      return "DONE";
    default:
      return nullptr;
  }
}

std::size_t descriptorsOf(std::uint32_t type) {
  switch (type) {
    case LANECALL_CARD_HELLO:
      return 1;
    case LANECALL_CARD_OFFER:
      return 2;
    default:
      return 0;
  }
}

// The device's own word for itself, as a word.
std::string wordOf(const __u8 (&text)[16]) {
  const auto* begin = reinterpret_cast<const char*>(text);
  return deviceWord({begin, ::strnlen(begin, sizeof text)});
}

bool is_page_size(std::uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes >= 1U << LANECALL_PAGE_SHIFT_MIN &&
         bytes <= 1U << LANECALL_PAGE_SHIFT_MAX;
}

bool is_ring_size(std::uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes >= 1U << LANECALL_RING_SHIFT_MIN &&
         bytes <= 1U << LANECALL_RING_SHIFT_MAX;
}

std::uint32_t hostPageBytes() {
  static const auto bytes = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::uint64_t usualBytes() { return hostPageBytes() + 2 * kUsualRingBytes; }

// All that came, so that whatever is wrong with the frame they get closed.
void adoptDescriptors(msghdr& message, std::vector<Descriptor>* into) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
      continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      into->emplace_back(fd);
    }
  }
}

}  // namespace

CardSession::~CardSession() {
  host_.loop().forget(socket_.get());
  for (auto& [id, channel] : offered_) {
    if (channel.moderation) host_.loop().forget(channel.moderation->timer());
    if (channel.signals) channel.signals->end(-ECONNRESET);
  }
  if (dma_) dma_->end();
}

void CardSession::start() {
  host_.loop().watch(socket_.get(), EPOLLIN,
                     [this](std::uint32_t events) { ready(events); });
}

// ---- Receiving

void CardSession::ready(std::uint32_t events) {
  const auto alive = shared_from_this();
  try {
    if (events & EPOLLOUT) sendQueued();
    takeFrames();
  } catch (const std::exception& error) {
    lost_ = error.what();
  }
  if (!lost_.empty()) host_.ended(*this, lost_);
}

void CardSession::takeFrames() {
  bool isDone = false;  // any DMA
  for (int i = 0; i < kFramesInOneTurn && lost_.empty(); ++i) {
    Frame frame{};
    Descriptors descriptors;
    Got got = receive(&frame, &descriptors);
    if (got == Got::kNothing) break;
    if (got == Got::kEnd)
      lost_ = "the device ended it";
    else
      take(frame, std::move(descriptors), got == Got::kCut);
    isDone = isDone || le32toh(frame.type) == LANECALL_CARD_DONE;
  }
  if (isDone && dma_) dma_->deliver();
}

CardSession::Got CardSession::receive(Frame* frame, Descriptors* descriptors) {
  iovec bytes[] = {{frame, sizeof *frame}, {payload_.data(), payload_.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMost * sizeof(int))];
  msghdr message{};
  message.msg_iov = bytes;
  message.msg_iovlen = std::size(bytes);
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size =
      ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Got::kNothing;
  if (size >= 0) adoptDescriptors(message, descriptors);
  if (size <= 0) return Got::kEnd;
  const auto bytesGot = static_cast<std::size_t>(size);
  require(bytesGot >= sizeof *frame && !(message.msg_flags & MSG_TRUNC),
          "a packet that is no frame");
  payloadBytes_ = bytesGot - sizeof *frame;
  require(payloadBytes_ == 0 || le32toh(frame->type) == LANECALL_CARD_DONE,
          "a packet that is no frame");
  if (!(message.msg_flags & MSG_CTRUNC)) return Got::kFrame;
  require(descriptors->size() < kDescriptorsMost,
          "more descriptors than a frame has");
  return Got::kCut;
}

void CardSession::take(const Frame& frame, Descriptors descriptors,
                       bool isCut) {
  const std::uint32_t type = le32toh(frame.type);
  const std::uint64_t id = le64toh(frame.channel);
  require(name(type), "a frame of unknown type " + std::to_string(type));
  const std::string what = name(type);
  require(
      isCut || descriptors.size() == descriptorsOf(type),
      what + " with " + std::to_string(descriptors.size()) + " descriptors");
  // That costs a channel, not the session and all that it serves.
  require(!isCut || type == LANECALL_CARD_OFFER,
          "no room for a descriptor with " + what + "; see ulimit -n");
  require((type == LANECALL_CARD_HELLO) == !memory_, what + " out of turn");
  if (type == LANECALL_CARD_HELLO)
    return takeHello(frame, std::move(descriptors));
  if (type == LANECALL_CARD_OFFER)
    return takeOffer(frame, std::move(descriptors), isCut);
  if (type == LANECALL_CARD_DONE) {
    require(dma_ != nullptr, "DONE without FEATURE_DMA");
    const char* wrong = dma_->takeDone(frame, payload());
    return require(!wrong, wrong ? wrong : "");
  }

  require(id <= lastId_, what + " for a channel that was never offered");
  auto found = offered_.find(id);
  if (found == offered_.end()) return;  // closed: it is late
  Channel& channel = found->second;
  switch (type) {
    case LANECALL_CARD_PLACE:
      return takePlace(id, channel, frame.place);
    case LANECALL_CARD_BUSY:
      return takeBusy(id, channel, frame.busy);
    case LANECALL_CARD_START:
      return takeStart(id, channel);
    case LANECALL_CARD_DRAIN:
      return takeDrain(id, channel);
    default:
      channel.signals->end(-ECONNRESET);
      return forget(found);
  }
}

void CardSession::takeHello(const Frame& frame, Descriptors descriptors) {
  const lanecall_card_greeting& hello = frame.greeting;
  const std::uint32_t version = le32toh(hello.version);
  const std::uint64_t bytes = le64toh(hello.card_bytes);
  require(le32toh(hello.magic) == LANECALL_CARD_MAGIC && frame.channel == 0,
          "no HELLO of a card");
  require(version >> 16 == LANECALL_CARD_VERSION_MAJOR,
          "the device speaks version " + std::to_string(version >> 16) +
              " of the card port, not " +
              std::to_string(LANECALL_CARD_VERSION_MAJOR) +
              "; build QEMU and the server from one source");
  channels_ = le32toh(hello.channels);
  require(channels_ > 0 && channels_ <= LANECALL_MAX_CHANNELS,
          "a device of " + std::to_string(channels_) + " channels");
  std::string refusal = CardMemory::refusal(descriptors[0].get(), bytes);
  require(refusal.empty(), refusal);

  struct stat file;
  require(::fstat(descriptors[0].get(), &file) == 0, "card memory is gone");
  places_ = host_.placesOf(file.st_dev, file.st_ino, bytes);
  memory_.emplace(std::move(descriptors[0]), bytes);
  told_ = wordOf(hello.device);
  device_ = told_.empty() ? "device" : told_;

  Frame welcome{};
  welcome.type = htole32(LANECALL_CARD_WELCOME);
  welcome.greeting.magic = htole32(LANECALL_CARD_MAGIC);
  welcome.greeting.version = htole32(LANECALL_CARD_VERSION);
  if (le64toh(hello.features) & LANECALL_CARD_FEATURE_DMA) {
    startDma(le32toh(hello.dma));
    welcome.greeting.features = htole64(LANECALL_CARD_FEATURE_DMA);
  }
  send(welcome);
  host_.attached(*this);
}

void CardSession::startDma(std::uint32_t operationsMost) {
  require(operationsMost > 0, "a device that takes no DMA operation");
  auto awaitRoom = [inbox = host_.loop().inbox(), self = weak_from_this()] {
    inbox->post([self] {
      if (auto session = self.lock()) session->watch();
    });
  };
  dma_ = std::make_shared<DmaEngine>(
      socket_.get(), operationsMost,
      CardBuffers(places_, std::make_shared<const Mapping>(
                               memory_->map(0, memory_->bytes()))),
      std::move(awaitRoom));
  payload_.resize(LANECALL_CARD_PACKET_MAX - sizeof(Frame));
}

void CardSession::takeOffer(const Frame& frame, Descriptors descriptors,
                            bool isCut) {
  const std::uint64_t id = le64toh(frame.channel);
  require(id > lastId_, "OFFER of a channel that was offered before");
  require(offered_.size() < channels_, "OFFER of more channels than it has");
  for (const Descriptor& fd : descriptors) {
    std::string refusal = CardChannelSignals::refusal(fd.get());
    require(refusal.empty(), "OFFER: a descriptor " + refusal);
  }
  lastId_ = id;
  if (isCut) return decline(id, kNoDescriptors);
  Channel channel;
  channel.caller = callerOf(frame.offer);
  if (std::uint32_t error = host_.refusal(channel.caller))
    return send(LANECALL_CARD_DECLINE, id, error);
  try {
    channel.signals = std::make_shared<CardChannelSignals>(
        std::move(descriptors[0]), std::move(descriptors[1]),
        host_.interrupter());
  } catch (const std::system_error&) {
    return decline(id, kNoDescriptors);
  }
  if (!reserve(channel)) return decline(id, kNoMemory);
  channel.admission = host_.admit();
  declinedFor_.clear();
  offered_.emplace(id, std::move(channel));
  send(LANECALL_CARD_ACCEPT, id);
}

void CardSession::takePlace(std::uint64_t id, Channel& channel,
                            const lanecall_card_place& place) {
  if (channel.state == State::kEnded) return;
  require(channel.state == State::kAccepted, "PLACE out of turn");
  channel.txBytes = le32toh(place.tx_bytes);
  channel.rxBytes = le32toh(place.rx_bytes);
  channel.pageBytes = le32toh(place.page_bytes);
  const std::uint32_t microseconds = le32toh(place.moderate_us);
  require(is_page_size(channel.pageBytes), "PLACE with an impossible page");
  require(is_ring_size(channel.txBytes) && is_ring_size(channel.rxBytes),
          "PLACE with an impossible ring");
  require(microseconds <= LANECALL_MODERATE_US_MAX,
          "PLACE with impossible moderation");
  try {
    if (microseconds > 0)
      moderate(channel, le32toh(place.moderate_bytes), microseconds);
  } catch (const std::system_error&) {
    return endChannel(id, channel, LANECALL_ERR_RESOURCES);
  }
  choosePlaces(id, channel);
}

// What is held back is told when the timer says so, by this thread.
void CardSession::moderate(Channel& channel, std::uint32_t bytes,
                           std::uint32_t microseconds) {
  auto moderation = std::make_shared<CardModeration>(bytes, microseconds);
  host_.loop().watch(moderation->timer(), EPOLLIN,
                     [moderation, signals = channel.signals](std::uint32_t) {
                       if (moderation->expired()) signals->tell();
                     });
  channel.moderation = std::move(moderation);
}

void CardSession::takeBusy(std::uint64_t id, Channel& channel,
                           const lanecall_card_busy& busy) {
  if (channel.state == State::kEnded) return;
  require(channel.state == State::kPlaced, "BUSY out of turn");
  if (++channel.busy > LANECALL_CARD_BUSY_MAX)
    return endChannel(id, channel, LANECALL_ERR_RESOURCES);
  const std::uint64_t offset = le64toh(busy.offset);
  const std::uint64_t bytes = le64toh(busy.bytes);
  // Otherwise any number of them could be heaped up, each of no use.
  require(std::any_of(channel.places.begin(), channel.places.end(),
                      [&](const auto& place) {
                        return lanecall_card_overlap(
                            offset, bytes, place->offset(), place->bytes());
                      }),
          "BUSY about a place that was not proposed");
  places_->avoid(offset, bytes);
  choosePlaces(id, channel);
}

void CardSession::takeStart(std::uint64_t id, Channel& channel) {
  if (channel.state == State::kEnded) return;
  require(channel.state == State::kPlaced, "START out of turn");
  std::unique_ptr<CardChannel> ready;
  try {
    ready = map(id, channel);
  } catch (const std::system_error&) {
    return endChannel(id, channel, LANECALL_ERR_RESOURCES);
  }
  channel.state = State::kStarted;
  host_.channelReady(std::move(ready));
}

void CardSession::takeDrain(std::uint64_t id, Channel& channel) {
  // It has met our END on the way.
  if (channel.state == State::kEnded) return release(id);
  require(channel.state == State::kStarted && !channel.draining,
          "DRAIN out of turn");
  channel.draining = true;
  channel.signals->end(-ESHUTDOWN);
}

Caller CardSession::callerOf(const lanecall_card_offer& offer) const {
  Caller caller{told_, le32toh(offer.number), {}};
  if (le32toh(offer.flags) & LANECALL_CARD_OFFER_USER)
    caller.uid = le32toh(offer.user);
  return caller;
}

// ---- A channel's life

void CardSession::decline(std::uint64_t id, const std::string& why) {
  if (why != declinedFor_) host_.declined(*this, why);
  declinedFor_ = why;
  send(LANECALL_CARD_DECLINE, id, LANECALL_ERR_RESOURCES);
}

// Keeps room for a channel as most are, until it says what it wants. Whether
// there is any is asked before ACCEPT: a channel that is declined can still use
// the device's socket.
bool CardSession::reserve(Channel& channel) {
  std::shared_ptr<CardPlaces::Place> room =
      places_->take(usualBytes(), hostPageBytes());
  if (!room) return false;
  channel.places.push_back(std::move(room));
  return true;
}

// What is more than a channel's share is given only while plenty is left.
bool CardSession::is_fair(std::uint64_t bytes) const {
  const std::uint64_t card = memory_->bytes() - places_->bufferBytes();
  if (bytes <= std::max(usualBytes(), card / channels_)) return true;
  const std::uint64_t free = places_->freeBytes();
  return free >= bytes && free - bytes >= card / 2;
}

// Chooses where index page and rings lie, and says so.
void CardSession::choosePlaces(std::uint64_t id, Channel& channel) {
  const std::uint32_t page = std::max(channel.pageBytes, hostPageBytes());
  const std::array<std::uint64_t, 3> bytes{
      lanecall_card_index_bytes(page),
      lanecall_card_ring_bytes(channel.txBytes, page),
      lanecall_card_ring_bytes(channel.rxBytes, page)};
  channel.places.clear();
  // A ring smaller than a page cannot be mapped twice, back to back.
  const bool possible =
      std::min(channel.txBytes, channel.rxBytes) >= hostPageBytes() &&
      is_fair(bytes[0] + bytes[1] + bytes[2]);
  for (std::size_t i = 0; possible && i < bytes.size(); ++i)
    if (std::shared_ptr<CardPlaces::Place> taken =
            places_->take(bytes[i], page))
      channel.places.push_back(std::move(taken));
  if (channel.places.size() < bytes.size()) {
    channel.places.clear();
    return endChannel(id, channel, LANECALL_ERR_RESOURCES);
  }
  channel.state = State::kPlaced;
  Frame placed{};
  placed.type = htole32(LANECALL_CARD_PLACED);
  placed.channel = htole64(id);
  placed.placed.index = htole64(channel.places[0]->offset());
  placed.placed.tx = htole64(channel.places[1]->offset());
  placed.placed.rx = htole64(channel.places[2]->offset());
  send(placed);
}

std::unique_ptr<CardChannel> CardSession::map(std::uint64_t id,
                                              const Channel& channel) {
  CardChannel::Parts parts;
  parts.name =
      "card:" + device_ + ":" + std::to_string(*channel.caller.channel);
  parts.caller = channel.caller;
  parts.signals = channel.signals;
  parts.moderation = channel.moderation;
  parts.admission = channel.admission;
  parts.places = channel.places;
  parts.index =
      memory_->map(channel.places[0]->offset(), channel.places[0]->bytes());
  parts.tx = memory_->mapTwice(channel.places[1]->offset(), channel.txBytes);
  parts.rx = memory_->mapTwice(channel.places[2]->offset(), channel.rxBytes);
  parts.txBytes = channel.txBytes;
  parts.rxBytes = channel.rxBytes;
  if (dma_) parts.device = dma_->makeDevice(parts.name);
  parts.closed = [inbox = host_.loop().inbox(), self = weak_from_this(),
                  id](std::uint32_t error) {
    inbox->post([self, id, error] {
      if (auto session = self.lock()) session->channelClosed(id, error);
    });
  };
  return std::make_unique<CardChannel>(std::move(parts));
}

// Whoever served it is done with it.
void CardSession::channelClosed(std::uint64_t id, std::uint32_t error) {
  auto found = offered_.find(id);
  if (found == offered_.end()) return;
  if (found->second.draining) return release(id);
  endChannel(id, found->second,
             found->second.signals->isInterruptLost() ? LANECALL_ERR_RESOURCES
                                                      : error);
}

// What was published stays readable until CLOSE.
void CardSession::endChannel(std::uint64_t id, Channel& channel,
                             std::uint32_t error) {
  channel.state = State::kEnded;
  channel.admission.reset();
  channel.signals->end(-ESHUTDOWN);
  send(LANECALL_CARD_END, id, error);
}

void CardSession::release(std::uint64_t id) {
  send(LANECALL_CARD_RELEASED, id);
  auto found = offered_.find(id);
  if (found != offered_.end()) forget(found);
}

void CardSession::forget(Channels::iterator channel) {
  if (channel->second.moderation)
    host_.loop().forget(channel->second.moderation->timer());
  offered_.erase(channel);
}

// ---- Sending

void CardSession::send(std::uint32_t type, std::uint64_t id,
                       std::uint32_t error) {
  Frame frame{};
  frame.type = htole32(type);
  frame.channel = htole64(id);
  frame.error = htole32(error);
  send(frame);
}

// A socket that is broken is noticed by its end, when reading.
void CardSession::send(const Frame& frame) {
  if (unsent_.empty()) {
    ssize_t sent = ::send(socket_.get(), &frame, sizeof frame,
                          MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EAGAIN) return;
  }
  if (unsent_.size() >= kUnsentMost) {
    lost_ = "the device takes no frames";
    ::shutdown(socket_.get(), SHUT_RDWR);  // and so ready() comes
    return;
  }
  unsent_.push_back(frame);
  watch();
}

// For what there is to be done: EPOLLOUT while something waits to be sent.
void CardSession::watch() {
  const bool waits = !unsent_.empty() || (dma_ && dma_->awaitsRoom());
  host_.loop().change(socket_.get(), waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void CardSession::sendQueued() {
  while (!unsent_.empty()) {
    if (::send(socket_.get(), &unsent_.front(), sizeof(Frame),
               MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        errno == EAGAIN)
      return;
    unsent_.pop_front();
  }
  if (dma_) dma_->roomAgain();
  watch();
}

}  // namespace lanecall
