// SPDX-License-Identifier: Apache-2.0
#include <lanecall/handler_errors.h>
#include <lanecall/log_field.h>

#include <exception>
#include <mutex>

namespace lanecall {
namespace {

class LogErrors : public apache::thrift::TProcessorEventHandler {
 public:
  explicit LogErrors(std::shared_ptr<spdlog::logger> log)
      : log_(std::move(log)) {}

  // Generated code calls this while it handles the exception.
  void handlerError(void*, const char* method) override {
    try {
      throw;
    } catch (const std::exception& error) {
      log_->error("event=handler_error method={} error=\"{}\"", method,
                  logField(error.what()));
    }
  }

 private:
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace

void logHandlerErrors(apache::thrift::TProcessor& processor,
                      const std::shared_ptr<spdlog::logger>& log) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  if (!processor.getEventHandler())
    processor.setEventHandler(std::make_shared<LogErrors>(log));
}

}  // namespace lanecall
