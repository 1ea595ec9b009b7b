// SPDX-License-Identifier: Apache-2.0
#include <lanecall/connection_log.h>
#include <lanecall/denials.h>
#include <lanecall/log_field.h>

#include <atomic>
#include <exception>
#include <string_view>

namespace lanecall {

namespace {

std::uint64_t nextId() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// Why a call ended its connection.
std::string describe(const std::exception& error, const Limits& limits) {
  if (std::string limit = explainLimit(error, limits); !limit.empty())
    return "the client sent " + limit;
  // Thrift's words for a stream that ended; ours say more.
  if (error.what() == std::string_view("No more data to read."))
    return "the client closed the connection in the middle of a message";
  return error.what();
}

}  // namespace

ConnectionLog::ConnectionLog(std::shared_ptr<spdlog::logger> log,
                             const std::string& at, const std::string& from)
    : log_(std::move(log)), id_(nextId()), at_(at), from_(logField(from)) {}

void ConnectionLog::connected() const {
  log_->info("event=connected connection={} at={} from={}", id_, at_, from_);
}

void ConnectionLog::told(const Caller& caller) const {
  log_->info("event=caller connection={} {}", id_, caller.str());
}

void ConnectionLog::denied(const Caller& caller,
                           const std::string& rule) const {
  static Denials denials;
  if (const auto denied = denials.add())
    log_->warn("event=denied connection={} at={} {} denied={} rule=\"{}\"", id_,
               at_, caller.str(), *denied, rule);
}

void ConnectionLog::closed(const std::string& why) const {
  log_->info("event=closed connection={} reason=\"{}\"", id_, logField(why));
}

void ConnectionLog::failed(const Limits& limits) const {
  try {
    throw;
  } catch (const std::exception& error) {
    log_->warn("event=failed connection={} from={} error=\"{}\"", id_, from_,
               logField(describe(error, limits)));
  } catch (...) {
    log_->error("event=failed connection={} from={} error=unknown", id_, from_);
  }
}

}  // namespace lanecall
