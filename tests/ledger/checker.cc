// SPDX-License-Identifier: Apache-2.0
#include "checker.h"

#include <map>
#include <optional>
#include <utility>

namespace lanecall::ledger {
namespace {

constexpr std::size_t kShownFaults = 20;

struct Call {
  bool sent = false;
  std::uint64_t sentDigest = 0;
  std::optional<Entry> outcome;
  int began = 0;
  int ended = 0;
  std::uint64_t endedDigest = 0;
};

// Of a channel, as the server has it.
struct Turn {
  std::optional<std::uint64_t> last;  // that began
  bool running = false;
};

class Checker {
 public:
  Verdict run(std::span<const Entry> client, std::span<const Entry> server) {
    for (const Entry& entry : client) takeClients(entry);
    for (const Entry& entry : server) takeServers(entry);
    for (const auto& [key, call] : calls_) judge(key, call);
    return std::move(verdict_);
  }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;

  static Key keyOf(const Entry& entry) { return {entry.channel, entry.number}; }

  void fault(const Key& key, const std::string& what) {
    ++verdict_.faultCount;
    if (verdict_.faults.size() < kShownFaults)
      verdict_.faults.push_back("call " + std::to_string(key.second) +
                                " of channel " + std::to_string(key.first) +
                                ": " + what);
  }

  void takeClients(const Entry& entry) {
    Call& call = calls_[keyOf(entry)];
    if (entry.what == What::kSent) {
      if (call.sent) fault(keyOf(entry), "was sent twice");
      call.sent = true;
      call.sentDigest = entry.digest;
    } else if (entry.what < What::kSent || entry.what > What::kHung) {
      fault(keyOf(entry), "no entry of a client");
    } else if (!call.sent || call.outcome) {
      fault(keyOf(entry), "has an outcome too many");
    } else {
      call.outcome = entry;
    }
  }

  void takeServers(const Entry& entry) {
    const Key key = keyOf(entry);
    if (entry.what == What::kBegan)
      begin(key, entry);
    else if (entry.what == What::kEnded)
      end(key, entry);
    else
      fault(key, "no entry of a server");
  }

  void begin(const Key& key, const Entry& entry) {
    Call& call = calls_[key];
    if (!call.sent) return fault(key, "ran, and nobody had sent it");
    if (entry.digest != call.sentDigest) fault(key, "other data than was sent");
    ++call.began;
    Turn& turn = turns_[key.first];
    if (turn.running) fault(key, "began before the one before it had ended");
    if (turn.last && key.second <= *turn.last) fault(key, "ran out of order");
    turn.last = key.second;
    turn.running = true;
  }

  void end(const Key& key, const Entry& entry) {
    Call& call = calls_[key];
    Turn& turn = turns_[key.first];
    if (!turn.running || turn.last != key.second)
      fault(key, "ended, and was not running");
    turn.running = false;
    ++call.ended;
    call.endedDigest = entry.digest;
  }

  void judge(const Key& key, const Call& call) {
    if (call.began > 1)
      fault(key, "ran " + std::to_string(call.began) + " times");
    if (call.began > call.ended) ++verdict_.unfinished;
    if (!call.sent) return;  // was said above
    switch (call.outcome ? call.outcome->what : What::kUnknown) {
      case What::kOk:
        return judgeOk(key, call);
      case What::kNotRun:
        ++verdict_.notRun;
        if (call.began) fault(key, "ran, and was reported as not run");
        return;
      case What::kWrong:
        return fault(key, "has a wrong answer");
      case What::kHung:
        return fault(key, "hung");
      default:
        ++verdict_.unknown;
        if (call.began) ++verdict_.unknownRan;
    }
  }

  void judgeOk(const Key& key, const Call& call) {
    ++verdict_.ok;
    if (!call.began) return fault(key, "is OK, and did not run");
    if (!call.ended) return fault(key, "is OK, and did not run to its end");
    if (call.outcome->digest != call.endedDigest)
      fault(key, "has another answer than was given");
  }

  Verdict verdict_;
  std::map<Key, Call> calls_;
  std::map<std::uint64_t, Turn> turns_;
};

}  // namespace

std::string Verdict::text() const {
  return std::to_string(ok) + " calls OK, " + std::to_string(notRun) +
         " not run, " + std::to_string(unknown) + " unknown (" +
         std::to_string(unknownRan) + " of them ran), " +
         std::to_string(unfinished) + " begun and not ended; " +
         std::to_string(faultCount) + " faults";
}

Verdict check(std::span<const Entry> client, std::span<const Entry> server) {
  return Checker().run(client, server);
}

}  // namespace lanecall::ledger
