// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <lanecall/buffered.h>
#include <lanecall/failure.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace lanecall {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

}  // namespace

BufferedTransport::BufferedTransport(
    std::shared_ptr<TTransport> under,
    const std::shared_ptr<TConfiguration>& configuration, bool shared)
    : TVirtualTransport(configuration),
      under_(std::move(under)),
      shared_(shared),
      readBuffer_(new std::uint8_t[kBufferBytes]),
      writeBuffer_(new std::uint8_t[kBufferBytes]) {
  reset();
}

void BufferedTransport::reset() {
  setReadBuffer(readBuffer_.get(), 0);
  setWriteBuffer(writeBuffer_.get(), kBufferBytes);
  gathered_.reset();
  received_ = sent_ = 0;
  abandoned_ = false;
  resetConsumedMessageSize();
}

// Nothing may follow on the connection.
void BufferedTransport::abandon() {
  if (!shared_) return close();
  abandoned_ = true;
}

void BufferedTransport::checkOpen() const {
  if (abandoned_)
    throw TTransportException(
        TTransportException::NOT_OPEN,
        getOrigin() +
            ": the connection has failed; open() it again "
            "when no thread is in it");
}

void BufferedTransport::open() {
  if (isOpen()) return;
  if (abandoned_) under_->close();
  reset();
  under_->open();
}

void BufferedTransport::close() {
  under_->close();
  reset();
}

bool BufferedTransport::peek() {
  if (!hasBuffered())
    setReadBuffer(readBuffer_.get(), receive(readBuffer_.get(), kBufferBytes));
  return hasBuffered();
}

std::uint32_t BufferedTransport::readEnd() {
  if (!hasBuffered()) {
    setReadBuffer(readBuffer_.get(), 0);
    gathered_.shrink();
  }
  // What is buffered already belongs to the next message.
  received_ = rBound_ - rBase_;
  resetConsumedMessageSize();
  return 0;
}

// Only called when nothing is buffered, so that all of received_ was consumed.
std::uint32_t BufferedTransport::receive(std::uint8_t* data,
                                         std::uint32_t size) {
  checkOpen();
  if (received_ >= static_cast<std::uint64_t>(getMaxMessageSize()))
    overLimit(getOrigin(), "a message received", getMaxMessageSize());
  try {
    const std::uint32_t got = under_->read(data, size);
    received_ += got;
    return got;
  } catch (const TTransportException& error) {
    // What was read of the message is lost, so the next cannot be found.
    if (error.getType() == TTransportException::INTERRUPTED && received_ > 0)
      abandon();
    throw;
  }
}

std::uint32_t BufferedTransport::readSlow(std::uint8_t* data,
                                          std::uint32_t size) {
  std::uint32_t have = rBound_ - rBase_;
  if (have > 0) {
    std::memcpy(data, rBase_, have);
    setReadBuffer(readBuffer_.get(), 0);
    return have;
  }
  if (size >= kBufferBytes) return receive(data, size);
  setReadBuffer(readBuffer_.get(), 0);
  setReadBuffer(readBuffer_.get(), receive(readBuffer_.get(), kBufferBytes));
  std::uint32_t give = std::min<std::uint32_t>(size, rBound_ - rBase_);
  std::memcpy(data, rBase_, give);
  rBase_ += give;
  return give;
}

// A protocol that brings no storage is about to read a string of *size bytes,
// all of which must come. A long one is gathered here, in memory that grows
// with what arrives; for the rest the protocol calls readAll().
const std::uint8_t* BufferedTransport::borrowSlow(std::uint8_t* data,
                                                  std::uint32_t* size) {
  if (data || *size <= Gathered::kTrustedBytes || is_in_gathered())
    return nullptr;
  checkReadBytesAvailable(*size);
  std::uint32_t have = 0;
  while (have < *size) {
    if (have == gathered_.room()) gathered_.grow(*size);
    // Never beyond the string: what follows it goes through the buffer. What
    // is buffered is less than the string, and fits the first piece of room.
    std::uint32_t want = std::min(gathered_.room(), *size) - have;
    std::uint32_t got = hasBuffered()
                            ? readSlow(gathered_.data(), rBound_ - rBase_)
                            : receive(gathered_.data() + have, want);
    if (got == 0)
      throw TTransportException(
          TTransportException::END_OF_FILE,
          getOrigin() + ": the connection ended inside a message");
    have += got;
  }
  setReadBuffer(gathered_.data(), have);
  *size = have;
  return rBase_;
}

void BufferedTransport::writeSlow(const std::uint8_t* data,
                                  std::uint32_t size) {
  std::uint8_t* start = writeBuffer_.get();
  std::uint32_t have = wBase_ - start;
  if (have + static_cast<std::uint64_t>(size) < 2ULL * kBufferBytes) {
    // Fill, send one whole buffer, keep the rest.
    std::uint32_t fill = wBound_ - wBase_;
    std::memcpy(wBase_, data, fill);
    wBase_ = start;
    send(start, kBufferBytes);
    std::memcpy(wBase_, data + fill, size - fill);
    wBase_ += size - fill;
    return;
  }
  wBase_ = start;
  if (have > 0) send(start, have);
  send(data, size);
}

void BufferedTransport::flush() {
  std::uint32_t have = wBase_ - writeBuffer_.get();
  wBase_ = writeBuffer_.get();
  if (have > 0) send(writeBuffer_.get(), have);
  sent_ = 0;
  under_->flush();
}

void BufferedTransport::send(const std::uint8_t* data, std::uint32_t size) {
  checkOpen();
  sent_ += size;
  if (sent_ > static_cast<std::uint64_t>(getMaxMessageSize())) {
    // A part may have gone out: nothing may follow it.
    abandon();
    overLimit(getOrigin(), "a message to send", getMaxMessageSize());
  }
  under_->write(data, size);
}

FramedTransport::FramedTransport(std::shared_ptr<BufferedTransport> under,
                                 std::shared_ptr<TConfiguration> configuration,
                                 bool shared)
    : TFramedTransport(under, BufferedTransport::kBufferBytes,
                       Gathered::kKeptBytes, std::move(configuration)),
      under_(std::move(under)),
      shared_(shared) {}

void FramedTransport::abandon() {
  if (shared_)
    under_->abandon();
  else
    close();
}

void FramedTransport::reset() {
  initPointers();
  resetConsumedMessageSize();
}

void FramedTransport::open() {
  if (transport_->isOpen()) return;
  reset();
  transport_->open();
}

void FramedTransport::close() {
  transport_->close();
  reset();
}

std::uint32_t FramedTransport::readEnd() {
  std::uint32_t bytes = TFramedTransport::readEnd();
  resetConsumedMessageSize();
  transport_->readEnd();
  return bytes;
}

// False at the end.
bool FramedTransport::readHeader(std::uint32_t* size) {
  std::uint8_t header[sizeof *size];
  for (std::uint32_t have = 0; have < sizeof header;) {
    const std::uint32_t got =
        transport_->read(header + have, sizeof header - have);
    if (got == 0 && have == 0) return false;
    if (got == 0)
      throw TTransportException(
          TTransportException::END_OF_FILE,
          getOrigin() + ": the connection ended inside a frame");
    have += got;
  }
  std::memcpy(size, header, sizeof header);
  *size = ntohl(*size);
  return true;
}

// As the base's, but for what is no frame of ours.
bool FramedTransport::readFrame() {
  under_->checkOpen();
  std::uint32_t size;
  if (!readHeader(&size)) return false;
  if (size == 0 || size > static_cast<std::uint32_t>(getMaxMessageSize())) {
    abandon();  // what is in it must not be taken for frames
    badFrame(getOrigin(), size, getMaxMessageSize());
  }
  if (size > rBufSize_) {
    rBuf_.reset(new std::uint8_t[size]);
    rBufSize_ = size;
  }
  transport_->readAll(rBuf_.get(), size);
  setReadBuffer(rBuf_.get(), size);
  return true;
}

// The frame is still all here: refusing it leaves the connection usable.
void FramedTransport::writeSlow(const std::uint8_t* data, std::uint32_t size) {
  constexpr std::uint32_t kHeader = sizeof(std::uint32_t);  // the frame's size
  std::uint64_t have = wBase_ - wBuf_.get() - kHeader;
  if (have + size > static_cast<std::uint64_t>(getMaxMessageSize())) {
    setWriteBuffer(wBuf_.get(), wBufSize_);
    wBase_ += kHeader;
    overLimit(getOrigin(), "a message to send", getMaxMessageSize());
  }
  TFramedTransport::writeSlow(data, size);
}

std::shared_ptr<TTransport> stack(const std::shared_ptr<TTransport>& under,
                                  Framing framing, const Limits& limits,
                                  bool shared) {
  auto configuration = limits.configuration();
  if (framing == Framing::kBuffered)
    return std::make_shared<BufferedTransport>(under, configuration, shared);
  // A frame is the message and four bytes; the layer below sees both.
  auto below = limits.configuration();
  below->setMaxMessageSize(limits.messageBytes + 4);
  return std::make_shared<FramedTransport>(
      std::make_shared<BufferedTransport>(under, below, shared), configuration,
      shared);
}

Framing parseFraming(const std::string& name) {
  if (name == "buffered") return Framing::kBuffered;
  if (name == "framed") return Framing::kFramed;
  throw std::invalid_argument("'" + name +
                              "': unknown framing; use buffered or framed");
}

const char* name(Framing framing) {
  return framing == Framing::kBuffered ? "buffered" : "framed";
}

}  // namespace lanecall
