// SPDX-License-Identifier: Apache-2.0
//
// Service Edu. One handler serves all connections, from their threads.
#ifndef LANECALL_SERVER_EDU_HANDLER_H
#define LANECALL_SERVER_EDU_HANDLER_H

#include <edu/Edu.h>

#include <atomic>

namespace lanecall {

class EduHandler : public edu::EduIf {
 public:
  void ping() override;
  void echo(std::string& result, const std::string& text) override;
  std::int32_t counter() override;
  void reflect(std::string& result, const std::string& bytes) override;
  std::int64_t factorial(const std::int32_t n) override;
  void scale(std::vector<std::int32_t>& result,
             const std::vector<std::int32_t>& values,
             const std::int32_t factor) override;
  void note(const std::string& text) override;

 private:
  // Unsigned: wraps without undefined behaviour after 2^32 calls.
  std::atomic<std::uint32_t> count_{0};
};

}  // namespace lanecall

#endif
