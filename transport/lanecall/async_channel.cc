// SPDX-License-Identifier: Apache-2.0
#include <lanecall/async_channel.h>
#include <lanecall/failure.h>
#include <poll.h>
#include <thrift/Thrift.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

namespace lanecall {
namespace {

using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransportException;
using Clock = Deadline::Clock;

// What one turn does at most: replies, bytes each way, and spinning once it has
// lasted that long.
constexpr int kTurnReplies = 64;
constexpr std::size_t kTurnBytes = 1 << 20;
constexpr auto kTurnTime = std::chrono::microseconds(200);

// Taken out of the ring at once.
constexpr std::size_t kPieceBytes = 64 << 10;

// A full queue of a Unix listener gives no event to wait for.
constexpr auto kFullQueueTime = std::chrono::milliseconds(5);

// A reply buffer that was made larger than this does not stay so.
constexpr std::uint32_t kKeptBytes = 1 << 20;
constexpr std::uint32_t kLeastBytes = 1 << 10;

// "call 7 (echo)".
std::string nameOf(const AsyncCall& call, Protocol protocol) {
  const std::string method =
      AsyncScanner::nameOf(protocol, call.head.data(), call.headBytes);
  const std::string id = "call " + std::to_string(call.id);
  return method.empty() ? id : id + " (" + method + ")";
}

void fill(TMemoryBuffer& buffer, std::span<const std::uint8_t> message) {
  const auto size = static_cast<std::uint32_t>(message.size());
  buffer.resetBuffer();
  buffer.readEnd();  // a new budget
  // One that only observes memory has no room at all.
  const std::uint32_t room = buffer.getBufferSize();
  if (room == 0 || (room > kKeptBytes && size <= kKeptBytes))
    buffer.resetBuffer(std::max(size, kLeastBytes));
  buffer.write(message.data(), size);
}

}  // namespace

AsyncChannel::AsyncChannel(event_base* loop, std::unique_ptr<RingIo> io,
                           std::function<int()> descriptor,
                           const ClientOptions& options, Peer peer)
    : io_(std::move(io)),
      descriptor_(std::move(descriptor)),
      peer_(peer),
      protocol_(options.protocol),
      messageBytes_(options.limits.messageBytes),
      connectTimeoutMs_(options.connectTimeoutMs),
      timeoutMs_(options.receiveTimeoutMs),
      spinner_(options.spin),
      spins_(options.spin.kind() != Spin::Kind::kNever),
      inbox_(io_->name(), options.framing, options.protocol, options.limits),
      outbox_(options.framing),
      channel_(loop, onEvent, this),
      turn_(loop, onEvent, this),
      timer_(loop, onTimer, this) {}

AsyncChannel::~AsyncChannel() {
  close();
  *alive_ = false;
}

bool AsyncChannel::good() const {
  return state_ == State::kConnecting || state_ == State::kOpen;
}

bool AsyncChannel::timedOut() const {
  return lastError_.call != 0 && lastError_.type == Type::TIMED_OUT;
}

void AsyncChannel::setSpin(Spin spin) {
  spinner_ = Spinner(spin);
  spins_ = spin.kind() != Spin::Kind::kNever;
}

// ---- Calls -----------------------------------------------------------------

void AsyncChannel::sendMessage(const VoidCallback& cob, Buffer* message) {
  issue(cob, message, nullptr);
}

void AsyncChannel::recvMessage(const VoidCallback& cob, Buffer* message) {
  issue(cob, nullptr, message);
}

void AsyncChannel::sendAndRecvMessage(const VoidCallback& cob, Buffer* request,
                                      Buffer* reply) {
  issue(cob, request, reply);
}

void AsyncChannel::issue(const VoidCallback& cob, Buffer* request,
                         Buffer* reply) {
  if (closing_) refuse();
  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;
  if (request) request->getBuffer(&data, &size);
  AsyncCall call;
  call.headBytes = std::min<std::uint32_t>(size, call.head.size());
  std::copy_n(data, call.headBytes, call.head.begin());
  call.cob = cob;
  call.reply = reply;
  const CallId id = calls_.add(std::move(call)).id;
  if (const auto reason = whyNot(request, size)) {
    fail(calls_.take(id, false), reason->type, reason->text);
    return;
  }
  if (timeoutMs_ > 0) setDeadline(id, timeoutMs_);
  outbox_.add(id, data, size);
  if (!reply) oneways_.push_back(id);
  needTurn();
}

void AsyncChannel::refuse() const {
  throw TTransportException(
      TTransportException::NOT_OPEN,
      name() +
          ": the channel is being closed; issue no calls, and do not open "
          "it, in callbacks of calls that this ends");
}

// Why a call cannot be issued, if so.
std::optional<AsyncError> AsyncChannel::whyNot(const Buffer* request,
                                               std::size_t bytes) const {
  if (state_ == State::kClosed)
    return AsyncError{0, Type::NOT_OPEN,
                      name() + ": the channel is not open; open() it"};
  if (state_ == State::kEnded) return AsyncError{0, Type::NOT_OPEN, whyEnded_};
  if (!request) return std::nullopt;
  if (bytes == 0)
    return AsyncError{0, Type::BAD_ARGS, name() + ": the message is empty"};
  if (bytes > static_cast<std::size_t>(messageBytes_)) try {
      overLimit(name(), "a message to send", messageBytes_);
    } catch (const TTransportException& error) {
      return AsyncError{0, error.getType(), error.what()};
    }
  if (outbox_.isFullFor(bytes, queueBytes_))
    return AsyncError{0, Type::UNKNOWN,
                      name() + ": write: " + std::to_string(outbox_.queued()) +
                          " bytes wait already; issue fewer calls at a time, "
                          "or setQueueBytes()"};
  return std::nullopt;
}

bool AsyncChannel::cancel(CallId call) {
  if (!calls_.find(call)) return false;
  end(call, Type::INTERRUPTED, "cancelled");
  return true;
}

bool AsyncChannel::setDeadline(CallId call, int ms) {
  AsyncCall* found = calls_.find(call);
  if (!found) return false;
  calls_.setDeadline(*found, ms);
  armTimer();
  return true;
}

// Ends one call; if it was sent, its reply is still to be expected.
void AsyncChannel::end(CallId id, Type type, const std::string& why) {
  const bool unsent = outbox_.drop(id);
  fail(calls_.take(id, !unsent), type, why);
}

void AsyncChannel::fail(AsyncCall call, Type type, const std::string& why) {
  AsyncError error{call.id, type, nameOf(call, protocol_) + ": " + why};
  ended_.push_back({std::move(call), std::move(error)});
  needTurn();
}

void AsyncChannel::run(Ended ended) {
  if (ended.error.call != 0) lastError_ = ended.error;
  if (ended.call.reply) ended.call.reply->resetBuffer();
  call(ended.call, protocol_, ended.error.text);
}

// An exception must not pass through libevent, which is written in C. What
// recv_x throws for a call that failed says nothing of why it did; why does, if
// it is not empty.
void AsyncChannel::call(const AsyncCall& ended, Protocol protocol,
                        const std::string& why) {
  using apache::thrift::GlobalOutput;
  const auto report = [&](const char* what) {
    GlobalOutput.printf(
        "lanecall: the callback of %s threw: %s%s%s",
        nameOf(ended, protocol).c_str(), what,
        why.empty() ? "" : "; the call had failed: ", why.c_str());
  };
  try {
    ended.cob();
  } catch (const std::exception& error) {
    report(error.what());
  } catch (...) {
    report("no std::exception");
  }
}

// ---- The connection --------------------------------------------------------

void AsyncChannel::open() {
  if (closing_) refuse();
  if (good()) return;
  state_ = State::kConnecting;
  if (connectTimeoutMs_ > 0)
    connectDeadline_ =
        Clock::now() + std::chrono::milliseconds(connectTimeoutMs_);
  turn_.soon();
}

void AsyncChannel::close() {
  const auto alive = alive_;
  const bool outer = std::exchange(closing_, true);
  endConnection(State::kClosed, Type::INTERRUPTED,
                name() + ": the channel was closed");
  turn_.clear();
  while (!ended_.empty()) {
    Ended next = std::move(ended_.front());
    ended_.pop_front();
    run(std::move(next));
    if (!*alive) return;
  }
  closing_ = outer;
}

// Calls end in the next turn.
void AsyncChannel::endConnection(State state, Type type,
                                 const std::string& why) {
  state_ = state;
  whyEnded_ = why;
  connectDeadline_ = armed_ = Time::max();
  channel_.clear();
  timer_.clear();
  // Before the words that are counted in go away with the rings.
  tally_.hide();
  outbox_.clear();
  io_->close();
  inbox_.clear();
  oneways_.clear();
  waiting_.reset();
  slept_ = false;
  for (AsyncCall& call : calls_.takeAll()) fail(std::move(call), type, why);
}

void AsyncChannel::breakConnection(int error, const char* action) {
  const bool inOrder = error == ESHUTDOWN;
  endConnection(State::kEnded, inOrder ? Type::END_OF_FILE : readFailure(error),
                explain(name(), action, inOrder ? EPIPE : error, peer_,
                        inOrder ? "end of file" : ""));
}

void AsyncChannel::cannotConnect(int error) {
  endConnection(State::kEnded, Type::NOT_OPEN,
                explain(name(), "open", error, peer_, io_->reason()));
}

void AsyncChannel::connectSome() {
  if (connectDeadline_ <= Clock::now()) return cannotConnect(ETIMEDOUT);
  if (!io_->isOpen()) {
    const int outcome = io_->open();
    if (outcome == -EAGAIN || outcome == -EINTR) {
      turn_.after(kFullQueueTime);
      return;
    }
    if (outcome < 0) return cannotConnect(-outcome);
  }
  const int outcome = io_->status();
  if (outcome == -EINPROGRESS) return watch(POLLOUT);
  if (outcome < 0) return cannotConnect(-outcome);
  state_ = State::kOpen;
  connectDeadline_ = Time::max();
  outbox_.attach(*io_);
  tally_.begin(io_->incoming().counters);
}

// ---- A turn of the loop ----------------------------------------------------

void AsyncChannel::onEvent(int, short, void* self) {
  static_cast<AsyncChannel*>(self)->turn();
}

void AsyncChannel::onTimer(int, short, void* self) {
  static_cast<AsyncChannel*>(self)->armed_ = Time::max();
  onEvent(-1, 0, self);
}

// What a turn ends with does this, too.
void AsyncChannel::needTurn() {
  if (!turning_) turn_.soon();
}

void AsyncChannel::turn() {
  const auto alive = alive_;
  turning_ = true;
  expire();
  if (state_ == State::kConnecting) connectSome();
  const bool isMore = exchange(*alive);
  if (!*alive || !runEnded(*alive)) return;
  send();
  turning_ = false;
  rest(isMore);
}

void AsyncChannel::expire() {
  const Time first = calls_.firstDeadline();
  if (first == Time::max()) return;
  const Time now = Clock::now();
  if (now < first) return;
  for (const CallId id : calls_.overdue(now))
    end(id, Type::TIMED_OUT,
        name() + ": no answer within " +
            std::to_string(calls_.find(id)->timeoutMs) +
            " ms; raise the timeout or see the server's log");
}

// Runs callbacks of calls that have ended by now; false if one destroyed this.
bool AsyncChannel::runEnded(const bool& alive) {
  for (std::size_t left = ended_.size(); left > 0 && !ended_.empty(); --left) {
    Ended next = std::move(ended_.front());
    ended_.pop_front();
    run(std::move(next));
    if (!alive) return false;
  }
  return true;
}

// Sends and receives; whether there may be more to receive.
bool AsyncChannel::exchange(const bool& alive) {
  int replies = kTurnReplies;
  std::size_t bytes = kTurnBytes;
  std::optional<Time> turnEnd;
  for (;;) {
    send();
    const int before = replies;
    if (!deliverSome(alive, &replies, &bytes)) return true;
    if (state_ != State::kOpen) return false;
    if (replies != before) continue;
    const Spun spun = spinForMore(&turnEnd);
    if (spun != Spun::kReady) return spun == Spun::kTurnOver;
  }
}

void AsyncChannel::send() {
  // After the end nobody reads; receiving finds out why.
  if (state_ != State::kOpen || io_->end() != 0) return;
  if (const int error = outbox_.push(kTurnBytes))
    return breakConnection(
        error == -EPROTO ? whyImpossible(io_->outgoing()) : -error, "write");
  while (!oneways_.empty() && oneways_.front() <= outbox_.handed()) {
    const CallId id = oneways_.front();
    oneways_.pop_front();
    if (calls_.find(id)) ended_.push_back({calls_.take(id, false), {}});
  }
}

// Delivers what has come; false if the turn has to end for now.
bool AsyncChannel::deliverSome(const bool& alive, int* replies,
                               std::size_t* bytes) {
  while (state_ == State::kOpen) {
    if (*replies == 0 || *bytes == 0) return false;
    std::optional<std::span<const std::uint8_t>> message;
    try {
      message = inbox_.next();
    } catch (const TTransportException& error) {
      endConnection(State::kEnded, error.getType(), error.what());
      return true;
    }
    if (message) {
      --*replies;
      deliver(*message);
      if (!alive) return false;
    } else if (!receive(bytes)) {
      return true;
    }
  }
  return true;
}

void AsyncChannel::deliver(std::span<const std::uint8_t> message) {
  const CallId id = calls_.nextToReply();
  if (id == 0 || id > outbox_.handed())
    return endConnection(
        State::kEnded, Type::CORRUPTED_DATA,
        name() +
            ": a message came that answers no call; give client and "
            "server the same --framing and --protocol");
  std::optional<AsyncCall> ended = calls_.replied();
  if (!ended) return;  // too late
  try {
    fill(*ended->reply, message);
  } catch (const std::exception& error) {
    return fail(std::move(*ended), Type::UNKNOWN,
                name() + ": read: " + error.what());
  }
  call(*ended, protocol_, "");
}

// The other side's index cannot be what it is: a lie, or what is left when the
// device went away, of which nobody may have said anything yet.
int AsyncChannel::whyImpossible(const RingIo::Ring& ring) const {
  if (peer_ == Peer::kDevice && lanecall_ring_reads_as_gone(&ring.core))
    return EIO;
  const int end = io_->end();
  return end == 0 || end == -ESHUTDOWN ? EPROTO : -end;
}

// Bytes in the ring, or -1; *end is of before that.
__s64 AsyncChannel::look(int* end) {
  if (io_->isCarried()) io_->move(POLLIN);
  *end = io_->end();
  return lanecall_ring_look(&io_->incoming().core);
}

// Takes a piece out of the ring; false if there is none.
bool AsyncChannel::receive(std::size_t* most) {
  int end;
  const __s64 held = look(&end);
  if (held <= 0) {
    if (held < 0) breakConnection(whyImpossible(io_->incoming()), "read");
    if (held == 0 && end != 0) breakConnection(-end, "read");
    return false;
  }
  RingIo::Ring& ring = io_->incoming();
  const std::size_t size =
      std::min({static_cast<std::size_t>(held), kPieceBytes, *most});
  try {
    inbox_.add(ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own),
               size);
  } catch (const std::exception& error) {  // no memory
    endConnection(State::kEnded, Type::UNKNOWN,
                  name() + ": read: " + error.what());
    return false;
  }
  // Bytes of a ring that went away with its device were none.
  const bool isThere = lanecall_ring_is_there(&ring.core);
  if (!isThere || io_->end() == -EIO) {
    breakConnection(isThere ? EIO : whyImpossible(ring), "read");
    return false;
  }
  tally_.add(&lanecall_user_counters::bytes, size);
  if (lanecall_ring_release(&ring.core, static_cast<std::uint32_t>(size))) {
    tally_.add(&lanecall_user_counters::doorbells);
    io_->notify();
  }
  *most -= size;
  if (std::exchange(slept_, false)) spinner_.slept();
  waiting_.reset();
  return true;
}

bool AsyncChannel::isMoreThere() {
  int end;
  return look(&end) != 0 || end != 0 || outbox_.canGoOn();
}

AsyncChannel::Spun AsyncChannel::found() {
  tally_.add(&lanecall_user_counters::spins);
  return Spun::kReady;
}

// Spins for replies. The first time in a turn says when that is to end.
AsyncChannel::Spun AsyncChannel::spinForMore(std::optional<Time>* turnEnd) {
  if (!spins_ || calls_.awaited() == 0 || !ended_.empty()) return Spun::kGaveUp;
  const auto isReady = [this] { return isMoreThere(); };
  if (spinner_.glance(isReady)) return found();
  const Time now = Clock::now();
  if (!*turnEnd) *turnEnd = now + kTurnTime;
  if (!waiting_) waiting_ = now;
  bool isOver = false;
  const auto isTurnOver = [&] { return isOver = Clock::now() >= **turnEnd; };
  if (spinner_.spin(isReady, isTurnOver)) return found();
  if (isOver && Clock::now() - *waiting_ < spinner_.budget())
    return Spun::kTurnOver;
  slept_ = true;
  return Spun::kGaveUp;
}

// Arranges for the next turn.
void AsyncChannel::rest(bool isMore) {
  armTimer();
  if (state_ == State::kOpen) {
    const bool isStuck = outbox_.isStuck();
    watch(isStuck ? POLLIN | POLLOUT : POLLIN);
    if (!isMore) isMore = armMore(isStuck);
  }
  if (isMore || !ended_.empty())
    turn_.after({});
  else if (calls_.awaited() > 0)
    tally_.add(&lanecall_user_counters::sleeps);
}

// Asks to be told of bytes, and of room; whether there are some already.
bool AsyncChannel::armMore(bool isStuck) {
  if (state_ != State::kOpen || io_->isCarried()) return false;
  if (isStuck && outbox_.armRoom()) return true;
  lanecall_ring_arm(&io_->incoming().core);
  return isMoreThere();
}

void AsyncChannel::watch(short events) {
  if (int error = channel_.watch(descriptor_(), events))
    breakConnection(-error, "watch");
}

void AsyncChannel::armTimer() {
  const Time first = std::min(connectDeadline_, calls_.firstDeadline());
  if (first >= armed_) return;
  armed_ = first;
  timer_.after(std::max(first - Clock::now(), Clock::duration::zero()));
}

}  // namespace lanecall
