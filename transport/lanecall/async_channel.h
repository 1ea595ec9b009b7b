// SPDX-License-Identifier: Apache-2.0
//
// The way in for Thrift's asynchronous ("cob style") clients: many calls
// outstanding on one thread, one libevent loop and one connection, over a
// Lanecall device (mapped, or read and written), TCP or a Unix socket alike.
//
//   event_base* loop = event_base_new();
//   auto channel = lanecall::openAsyncChannel(loop, "pcie:/dev/lanecall0");
//   auto protocols = lanecall::protocolFactory(Protocol::kBinary, {});
//   edu::EduCobClient client(channel, protocols.get());
//   client.ping([&](edu::EduCobClient* self) {
//     self->recv_ping();
//     event_base_loopbreak(loop);
//   });
//   event_base_dispatch(loop);
//   channel->close();
//
// What to know:
// - Nothing blocks, except the look-up of a tcp: host by name (give a number).
//   Connecting goes on while calls are issued already; they wait for it.
// - Replies come in the order of calls, which is all there is to match them:
//   generated clients send sequence id 0. So a connection carries one message
//   after another, and is given up for good when its place in the stream is
//   lost. Both framings work; without frames the channel finds a message's end
//   by the protocol, so that it has to know which.
// - A request is copied before sendMessage() or sendAndRecvMessage() returns. A
//   reply buffer is filled just before its callback, so that all calls of a
//   client can share one, and belongs to the caller then.
// - Every call ends exactly once, by its callback, from the loop: never inside
//   the method that issued it, and only in close() and the destructor outside
//   the loop. One that failed has an empty reply buffer, so that recv_x throws,
//   and lastError() says which it is and why. A deadline and cancel() end one
//   call only: its late reply is dropped when its turn comes.
// - Calls issued in one turn of the loop are sent together: one flush, one
//   doorbell at most.
// - What the device or socket does not take waits here, up to setQueueBytes();
//   a call beyond that fails.
// - A turn delivers a bounded number of replies, then lets the loop look at its
//   other events. While replies are awaited over a device a turn may spin for
//   them (setSpin()), up to 200 us, before it leaves the thread to the loop.
//   With Spin::always() the loop does not sleep while replies are awaited, so
//   that EVLOOP_NONBLOCK, which goes on while anything happens, does not
//   return.
// - A callback may do anything to the channel: issue calls, cancel others,
//   close it, destroy it. What it throws is reported to Thrift's GlobalOutput,
//   with why the call failed if it did, and ends there.
// - The destructor ends calls that are outstanding, so their buffers and
//   clients must still be there. A generated client shares its channel, and
//   destroys its buffers before that: close() the channel before the last of
//   its clients goes while calls are outstanding.
//
// All on the thread that runs the loop, which has to outlive the channel.
#ifndef LANECALL_ASYNC_CHANNEL_H
#define LANECALL_ASYNC_CHANNEL_H

#include <lanecall/async_calls.h>
#include <lanecall/async_event.h>
#include <lanecall/async_inbox.h>
#include <lanecall/async_outbox.h>
#include <lanecall/counters.h>
#include <lanecall/errors.h>
#include <lanecall/open.h>
#include <lanecall/ring_io.h>
#include <lanecall/spin.h>
#include <thrift/async/TAsyncChannel.h>
#include <thrift/transport/TTransportException.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

struct event_base;

namespace lanecall {

// Why a call failed.
struct AsyncError {
  using Type =
      apache::thrift::transport::TTransportException::TTransportExceptionType;

  // Of lastCall(); 0: none failed yet.
  std::uint64_t call = 0;
  // NOT_OPEN the connection could not be made, or ended before the call was
  // issued; TIMED_OUT its deadline; INTERRUPTED cancel() or close();
  // END_OF_FILE the connection ended; CORRUPTED_DATA what came, or the request,
  // is no message within the limits; UNKNOWN the queue is full, and others.
  Type type = Type::UNKNOWN;
  // One line: "call 7 (echo): /dev/lanecall0: read: why; what to do".
  std::string text;
};

class AsyncChannel : public apache::thrift::async::TAsyncChannel {
 public:
  using Buffer = apache::thrift::transport::TMemoryBuffer;
  using CallId = std::uint64_t;

  static constexpr std::size_t kQueueBytes = 8 << 20;

  // Opens nothing yet; most programs want openAsyncChannel(). descriptor() is
  // what the loop watches instead of io's poll(), readable and writable when
  // that would say so; another one perhaps while io connects. Of options it
  // takes protocol, framing, limits, connectTimeoutMs, receiveTimeoutMs (as
  // setTimeout()) and spin. peer: of whom errors are to speak.
  AsyncChannel(event_base* loop, std::unique_ptr<RingIo> io,
               std::function<int()> descriptor,
               const ClientOptions& options = {}, Peer peer = Peer::kDevice);

  // close(), in effect.
  ~AsyncChannel() override;

  // Begins to connect, if it is not open, also after the connection has ended.
  // If that fails, calls do, and good() says no.
  void open();

  // Ends the connection. Calls that are outstanding fail: their callbacks run
  // in here, and while they do, new calls are refused by a TTransportException
  // NOT_OPEN. Calls issued later fail in the loop.
  void close();

  // Connecting or connected: calls may succeed.
  bool good() const override;
  // The connection has ended, other than by close().
  bool error() const override { return state_ == State::kEnded; }
  // lastError() is of a deadline.
  bool timedOut() const override;

  // As Thrift has them; cob may not be empty. sendMessage() ends when all of
  // the message is in a ring, of the device or before the socket: close() may
  // still overtake it. recvMessage() takes the next reply in order: issue it
  // before the loop goes on, else the reply of a message that was only sent
  // belongs to nobody, which ends the connection.
  void sendMessage(const VoidCallback& cob, Buffer* message) override;
  void recvMessage(const VoidCallback& cob, Buffer* message) override;
  void sendAndRecvMessage(const VoidCallback& cob, Buffer* request,
                          Buffer* reply) override;

  // The call issued last, for cancel(); 0 before the first. They count up by
  // one.
  CallId lastCall() const { return calls_.last(); }

  // Ends a call, whose callback will come from the loop; false if it has ended
  // already. What was not sent of it yet never is.
  bool cancel(CallId call);

  // For calls issued from now on: milliseconds from issuing one, also while
  // connecting, until it fails; 0, the default, is no limit.
  void setTimeout(int ms) { timeoutMs_ = ms; }
  // For one call, from now; false if it has ended already.
  bool setDeadline(CallId call, int ms);

  // Set just before the callback of a call that failed.
  const AsyncError& lastError() const { return lastError_; }

  // Bytes that wait here, at most: those of one message, or this many.
  void setQueueBytes(std::size_t bytes) { queueBytes_ = bytes; }
  std::size_t queuedBytes() const { return outbox_.queued(); }

  // Calls whose callbacks have not run.
  std::size_t outstanding() const { return calls_.live() + ended_.size(); }

  // How a turn waits for replies before it leaves that to the loop; never by
  // default on a socket. A turn is over after 200 us, whatever this says.
  void setSpin(Spin spin);

  // What this connection has done, or the last one: see counters.h.
  Counters counters() const { return {outbox_.counted(), tally_.get()}; }

  std::string name() const { return io_->name(); }

 private:
  enum class State { kClosed, kConnecting, kOpen, kEnded };
  using Time = AsyncCall::Time;
  using Type = AsyncError::Type;

  // A call whose callback is to run.
  struct Ended {
    AsyncCall call;
    AsyncError error;  // of call 0: none
  };

  // What spinning came to.
  enum class Spun { kReady, kTurnOver, kGaveUp };

  // ---- Calls ---------------------------------------------------------------
  void issue(const VoidCallback& cob, Buffer* request, Buffer* reply);
  [[noreturn]] void refuse() const;
  std::optional<AsyncError> whyNot(const Buffer* request,
                                   std::size_t bytes) const;
  void end(CallId id, Type type, const std::string& why);
  void fail(AsyncCall call, Type type, const std::string& why);
  void run(Ended ended);
  static void call(const AsyncCall& ended, Protocol protocol,
                   const std::string& why);

  // ---- The connection ------------------------------------------------------
  void connectSome();
  void cannotConnect(int error);
  void breakConnection(int error, const char* action);
  void endConnection(State state, Type type, const std::string& why);

  // ---- A turn of the loop --------------------------------------------------
  // alive: *alive_, which outlives this.
  static void onEvent(int, short, void* self);
  static void onTimer(int, short, void* self);
  void needTurn();
  void turn();
  void expire();
  bool runEnded(const bool& alive);
  bool exchange(const bool& alive);
  void send();
  bool deliverSome(const bool& alive, int* replies, std::size_t* bytes);
  void deliver(std::span<const std::uint8_t> message);
  int whyImpossible(const RingIo::Ring& ring) const;
  __s64 look(int* end);
  bool receive(std::size_t* most);
  bool isMoreThere();
  Spun found();
  Spun spinForMore(std::optional<Time>* turnEnd);
  void rest(bool isMore);
  bool armMore(bool isStuck);
  void watch(short events);
  void armTimer();

  const std::unique_ptr<RingIo> io_;
  const std::function<int()> descriptor_;
  const Peer peer_;
  const Protocol protocol_;
  const int messageBytes_;
  const int connectTimeoutMs_;
  int timeoutMs_;
  std::size_t queueBytes_ = kQueueBytes;
  Spinner spinner_;
  bool spins_;

  State state_ = State::kClosed;
  std::string whyEnded_;
  bool closing_ = false;  // calls are refused
  bool turning_ = false;  // inside turn()
  Time connectDeadline_ = Time::max();
  Time armed_ = Time::max();  // when timer_ comes
  // Of the wait for replies that is under way:
  std::optional<Time> waiting_;  // when spinning began
  bool slept_ = false;           // it was left to the loop

  AsyncCalls calls_;
  std::deque<CallId> oneways_;  // that may not be in the ring yet
  std::deque<Ended> ended_;
  AsyncError lastError_;
  Tally tally_;  // of receiving
  AsyncInbox inbox_;
  AsyncOutbox outbox_;

  AsyncEvent channel_;  // the descriptor
  AsyncEvent turn_;     // work that needs none
  AsyncEvent timer_;    // deadlines

  // Whether this still exists, for whoever has just run a callback.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A channel to tcp:, unix: or pcie:, that has begun to connect. options as for
// openTransport(), but for sendTimeoutMs; receiveTimeoutMs is each call's. A
// socket is not spun on. Throws TTransportException BAD_ARGS for an address it
// does not understand.
std::shared_ptr<AsyncChannel> openAsyncChannel(
    event_base* loop, const std::string& uri,
    const ClientOptions& options = {});

}  // namespace lanecall

#endif
