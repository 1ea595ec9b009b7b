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

  bool allows(const Caller& caller) const;

 private:
  static Caller parse(const std::string& rule);

  // What is empty in a rule may be anything in a caller.
  std::vector<Caller> allowed_;
  std::vector<Caller> denied_;
};

}  // namespace lanecall

#endif
