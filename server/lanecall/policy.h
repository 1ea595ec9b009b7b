// SPDX-License-Identifier: Apache-2.0
//
// Whose channels a server serves (caller.h). A rule is what a caller has to be
// for it, such as "uid=0" or "device=edu1,channel=3,uid=1000".
//
// A caller is denied if a rule of deny() says so; else, if there are rules of
// allow(), unless one of them does. What a device did not tell is against the
// caller: it meets no rule of allow(), and every one of deny().
#ifndef LANECALL_POLICY_H
#define LANECALL_POLICY_H

#include <lanecall/caller.h>

#include <string>
#include <vector>

namespace lanecall {

class Policy {
 public:
  // Throw std::invalid_argument, one line, for what is no rule.
  void allow(const std::string& rule) { allowed_.push_back(parse(rule)); }
  void deny(const std::string& rule) { denied_.push_back(parse(rule)); }

  // Without rules everybody is served.
  bool isEmpty() const { return allowed_.empty() && denied_.empty(); }

  // Why a caller is not served, for logs: "--deny uid=1000", the first rule
  // that says so, or "no --allow"; empty if it is.
  std::string refusal(const Caller& caller) const;

 private:
  struct Rule {
    // What is empty may be anything in a caller.
    Caller wanted;
    std::string text;
  };

  static Rule parse(const std::string& rule);
  static const Rule* firstMet(const std::vector<Rule>& rules,
                              const Caller& caller, bool ifUnknown);

  std::vector<Rule> allowed_;
  std::vector<Rule> denied_;
};

}  // namespace lanecall

#endif
