// SPDX-License-Identifier: Apache-2.0
//
// Service Edu. A handler may serve any number of connections, from their
// threads; one that is to reach its client's memory serves one.
#ifndef LANECALL_SERVER_EDU_HANDLER_H
#define LANECALL_SERVER_EDU_HANDLER_H

#include <edu/Edu.h>
#include <lanecall/card_device.h>

#include <atomic>
#include <memory>
#include <utility>

namespace lanecall {

class EduHandler : public edu::EduIf {
 public:
  // Unsigned: wraps without undefined behaviour after 2^32 calls.
  using Count = std::atomic<std::uint32_t>;

  // device: that the connection came through; null: it has none. count: of all
  // handlers' calls of counter.
  explicit EduHandler(std::shared_ptr<CardDevice> device = nullptr,
                      std::shared_ptr<Count> count = std::make_shared<Count>())
      : device_(std::move(device)), count_(std::move(count)) {}

  void ping() override;
  void echo(std::string& result, const std::string& text) override;
  std::int32_t counter() override;
  void reflect(std::string& result, const std::string& bytes) override;
  std::int64_t factorial(const std::int32_t n) override;
  void scale(std::vector<std::int32_t>& result,
             const std::vector<std::int32_t>& values,
             const std::int32_t factor) override;
  void scaleRegion(const idl::RegionReference& source,
                   const idl::RegionReference& target,
                   const std::int32_t factor) override;
  void note(const std::string& text) override;

 private:
  const std::shared_ptr<CardDevice> device_;
  const std::shared_ptr<Count> count_;
};

}  // namespace lanecall

#endif
