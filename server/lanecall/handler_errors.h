// SPDX-License-Identifier: Apache-2.0
//
// A line in the log for each exception that leaves a handler undeclared: the
// client gets its text at best, and for a oneway call nobody does. Internal to
// the server library.
#ifndef LANECALL_HANDLER_ERRORS_H
#define LANECALL_HANDLER_ERRORS_H

#include <spdlog/logger.h>
#include <thrift/TProcessor.h>

#include <memory>

namespace lanecall {

// From now on, for this processor; one that has an event handler keeps it
// instead. A processor may be given here by several threads, each before it
// first processes with it.
void logHandlerErrors(apache::thrift::TProcessor& processor,
                      const std::shared_ptr<spdlog::logger>& log);

}  // namespace lanecall

#endif
