// SPDX-License-Identifier: Apache-2.0
#include "clean_calls.h"

#include "cleaner.h"
#include "clock.h"
#include "shells.h"

namespace lanecall::bench {
namespace {

class CleanCalls : public Connection {
 public:
  CleanCalls(const Channel& channel, const Test& test, int batch)
      : shells_(static_cast<std::size_t>(batch), test.bytes, test.dirtyPercent),
        cleaner_(makeCleaner(channel, shells_)) {}

  void warmUp(const Span& span) override {
    shells_.soilAll();
    cleaner_->clean();
    shells_.checkAll();
    for (std::size_t made = shells_.count(); !span.isOver(nowNs(), made);
         made += shells_.count())
      cleanOnce();
  }

  void run(const Span& span, int, Latencies& latencies) override {
    const auto batch = static_cast<std::int64_t>(shells_.count());
    std::int64_t before = nowNs();
    while (latencies.room() >= shells_.count()) {
      cleanOnce();
      const std::int64_t now = nowNs();
      for (std::int64_t i = 0; i < batch; ++i)
        latencies.add((now - before) / batch);
      before = now;
      if (span.isOver(now, latencies.count())) break;
    }
  }

 private:
  void cleanOnce() {
    shells_.soilEnds();
    cleaner_->clean();
    shells_.checkEnds();
  }

  Shells shells_;
  const std::unique_ptr<Cleaner> cleaner_;
};

}  // namespace

std::unique_ptr<Connection> cleanOver(const Channel& channel, const Test& test,
                                      int batch) {
  return std::make_unique<CleanCalls>(channel, test, batch);
}

}  // namespace lanecall::bench
