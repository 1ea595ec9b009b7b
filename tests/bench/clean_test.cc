// SPDX-License-Identifier: Apache-2.0
//
// Cleans, commanded: by memcpy, and by a service that is right, or is not.
#include <gtest/gtest.h>
#include <lanecall/server.h>
#include <spdlog/sinks/null_sink.h>
#include <thrift/processor/TMultiplexedProcessor.h>
#include <virtine/VirtineCleanup.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "control.h"

namespace lanecall::bench {
namespace {

using nlohmann::json;

// Knows one snapshot; completes what was submitted in the opposite order.
class Cleanup : public virtine::VirtineCleanupNull {
 public:
  void registerSnapshot(virtine::Snapshot& snapshot,
                        const virtine::Memory& image, bool) override {
    image_ = image.bytes;
    snapshot.id = 7;
  }
  virtine::AttachmentId attach(const virtine::Memory&,
                               virtine::SnapshotId) override {
    return ++attached;
  }
  void detach(virtine::AttachmentId) override { --attached; }
  void dropSnapshot(virtine::SnapshotId) override { ++dropped; }

  void clean(virtine::CleanResult& result,
             const virtine::CleanRequest& request) override {
    std::string bytes = image_;
    if (request.__isset.dirty) {
      bytes.clear();
      for (const virtine::Extent& extent : request.dirty)
        bytes += image_.substr(extent.offset, extent.length);
    }
    EXPECT_EQ(bytes.size(), request.memory.bytes.size());
    if (isLazy) bytes = request.memory.bytes;
    virtine::Memory memory;
    memory.__set_bytes(bytes);
    result.__set_memory(memory);
    ++cleaned;
  }
  void submit(std::vector<virtine::Ticket>& tickets,
              const std::vector<virtine::CleanRequest>& requests) override {
    for (const virtine::CleanRequest& request : requests) {
      virtine::Completion done;
      done.ticket = static_cast<virtine::Ticket>(cleaned.load());
      done.__isset.result = true;
      clean(done.result, request);
      done_.push_back(done);
      tickets.push_back(done.ticket);
    }
    std::reverse(done_.begin(), done_.end());
    if (forgets) done_.back().ticket = -1;
  }
  void reap(std::vector<virtine::Completion>& completions, std::int32_t,
            std::int32_t, std::int32_t) override {
    completions.swap(done_);
    done_.clear();
  }

  bool isLazy = false;
  bool forgets = false;
  std::atomic<int> attached{0};
  std::atomic<int> dropped{0};
  std::atomic<int> cleaned{0};

 private:
  std::string image_;
  std::vector<virtine::Completion> done_;
};

std::string makeFolder() {
  std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
  return ::mkdtemp(pattern.data());
}

class BenchClean : public ::testing::Test {
 protected:
  BenchClean() {
    ServerOptions options;
    options.listen = {"unix:" + folder + "/socket"};
    auto processor = std::make_shared<apache::thrift::TMultiplexedProcessor>();
    processor->registerProcessor(
        "VirtineCleanup",
        std::make_shared<virtine::VirtineCleanupProcessor>(service));
    server = std::make_unique<Server>(
        options, [processor](const auto&) { return processor; },
        std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::null_sink_mt>()));
    channels = {parseChannel("memory=memory:"),
                parseChannel("unix=" + server->addresses()[0])};
    thread = std::thread([this] { server->serve(); });
  }
  ~BenchClean() override {
    server->stop();
    thread.join();
    std::filesystem::remove_all(folder);
  }

  json ask(const std::string& channel, const std::string& test, int batch) {
    return json::parse(answerTo(json{{"channel", channel},
                                     {"test", test},
                                     {"outstanding", batch},
                                     {"seconds", 0},
                                     {"minimum_calls", 2 * batch},
                                     {"warmup_seconds", 0}}
                                    .dump(),
                                channels));
  }

  std::string error(const std::string& test, int batch) {
    return ask("unix", test, batch).value("error", "none");
  }

  const std::string folder = makeFolder();
  std::shared_ptr<Cleanup> service = std::make_shared<Cleanup>();
  std::unique_ptr<Server> server;
  std::vector<Channel> channels;
  std::thread thread;
};

TEST_F(BenchClean, CountsEachMemoryOfABatch) {
  for (const char* channel : {"memory", "unix"})
    for (const char* test : {"clean_64k", "clean_64k_50"})
      for (int batch : {1, 8}) {
        const json answer = ask(channel, test, batch);
        EXPECT_EQ(answer["calls"], 2 * batch) << channel << answer;
        EXPECT_GT(answer["cpu_us"], 0) << answer;
        EXPECT_NEAR(answer["mb_per_s"],
                    answer["calls_per_s"].get<double>() * 65536 / 1e6 *
                        (std::string(test) == "clean_64k" ? 1 : 0.5),
                    1e-6);
      }
}

TEST_F(BenchClean, LeavesNothingAtTheService) {
  ask("unix", "clean_4k", 5);
  EXPECT_EQ(service->attached, 0);
  EXPECT_EQ(service->dropped, 1);
  EXPECT_GE(service->cleaned, 15);
}

TEST_F(BenchClean, NoticesWhatWasNotCleaned) {
  service->isLazy = true;
  for (const char* test : {"clean_64k", "clean_64k_10"})
    for (int batch : {1, 8})
      EXPECT_NE(error(test, batch).find("is not the snapshot"),
                std::string::npos)
          << error(test, batch);
}

TEST_F(BenchClean, NoticesATicketThatIsNotCompleted) {
  service->forgets = true;
  EXPECT_NE(error("clean_4k", 2).find("not completed"), std::string::npos)
      << error("clean_4k", 2);
}

TEST_F(BenchClean, RefusesWhatItDoesNotMeasure) {
  const json many = json::parse(answerTo(
      R"({"channel":"memory","test":"clean_4k","clients":2})", channels));
  EXPECT_NE(many.value("error", "none").find("use clients 1"),
            std::string::npos)
      << many;
  EXPECT_NE(ask("memory", "clean_16m", 256).value("error", "none"), "none");
  EXPECT_NE(ask("memory", "dma_write_4k", 1).value("error", "none"), "none");
}

}  // namespace
}  // namespace lanecall::bench
