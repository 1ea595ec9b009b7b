// SPDX-License-Identifier: Apache-2.0
//
// What a server's log says of its connections, whatever serves them. Internal
// to the server library.
#ifndef LANECALL_CONNECTION_LOG_H
#define LANECALL_CONNECTION_LOG_H

#include <lanecall/caller.h>
#include <lanecall/limits.h>
#include <spdlog/logger.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace lanecall {

class ConnectionLog {
 public:
  ConnectionLog(std::shared_ptr<spdlog::logger> log, const std::string& at,
                const std::string& from);

  // Unique in the process.
  std::uint64_t id() const { return id_; }

  void connected() const;
  // By a device, of who opened the channel.
  void told(const Caller& caller) const;
  // For that, by this rule (policy.h); says how many were in all, once a second
  // at most.
  void denied(const Caller& caller, const std::string& rule) const;
  void closed(const std::string& why) const;
  // Called where an exception is handled: logs it.
  void failed(const Limits& limits) const;

 private:
  std::shared_ptr<spdlog::logger> log_;
  std::uint64_t id_;
  std::string at_;
  std::string from_;
};

}  // namespace lanecall

#endif
