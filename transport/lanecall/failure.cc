// SPDX-License-Identifier: Apache-2.0
#include <lanecall/failure.h>

#include <cerrno>

namespace lanecall {

using apache::thrift::transport::TTransportException;

namespace {

bool is_gone(int error) {
  return error == EIO || error == ENODEV || error == ENOTCONN;
}

}  // namespace

TTransportException::TTransportExceptionType readFailure(int error) {
  if (is_gone(error)) return TTransportException::NOT_OPEN;
  if (error == ETIMEDOUT) return TTransportException::TIMED_OUT;
  return error == ECONNRESET || error == EPROTO
             ? TTransportException::END_OF_FILE
             : TTransportException::UNKNOWN;
}

TTransportException::TTransportExceptionType writeFailure(int error) {
  return error == EPIPE || error == ECONNRESET || is_gone(error)
             ? TTransportException::NOT_OPEN
             : TTransportException::UNKNOWN;
}

void overLimit(const std::string& origin, const char* what, int limit) {
  throw TTransportException(
      TTransportException::CORRUPTED_DATA,
      origin + ": " + what + " is over the limit of " + std::to_string(limit) +
          " bytes (--max-message, Limits::messageBytes); raise it on both "
          "sides, or send less");
}

void badFrame(const std::string& origin, std::uint32_t size, int limit) {
  throw TTransportException(
      TTransportException::CORRUPTED_DATA,
      origin + ": what came is no frame of ours (it would have " +
          std::to_string(size) + " bytes, of at most " + std::to_string(limit) +
          "); give client and server the same --framing, --protocol and "
          "--max-message");
}

}  // namespace lanecall
