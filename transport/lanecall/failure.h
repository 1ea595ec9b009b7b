// SPDX-License-Identifier: Apache-2.0
//
// Which of Thrift's exceptions an error of a channel becomes; the same for
// every transport of the library.
#ifndef LANECALL_FAILURE_H
#define LANECALL_FAILURE_H

#include <thrift/transport/TTransportException.h>

#include <cstdint>
#include <string>

namespace lanecall {

// error is an errno value that reading, or writing, has ended with.
apache::thrift::transport::TTransportException::TTransportExceptionType
readFailure(int error);
apache::thrift::transport::TTransportException::TTransportExceptionType
writeFailure(int error);

// A message, or a part of it, is over the limit: CORRUPTED_DATA. Leaving it to
// Thrift would be END_OF_FILE, which looks like an end in order.
[[noreturn]] void overLimit(const std::string& origin, const char* what,
                            int limit);

// What should be a frame's size is none: CORRUPTED_DATA.
[[noreturn]] void badFrame(const std::string& origin, std::uint32_t size,
                           int limit);

}  // namespace lanecall

#endif
