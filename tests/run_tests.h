// SPDX-License-Identifier: Apache-2.0
//
// The end of main() in test programs that have options of their own besides
// gtest's.
#ifndef LANECALL_TESTS_RUN_TESTS_H
#define LANECALL_TESTS_RUN_TESTS_H

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace lanecall::test {

// rest: the words of the command line that are not the program's own. Returns
// the exit status; 2 for a word that gtest does not know, either.
inline int runTests(char* program, std::vector<std::string> rest) {
  std::vector<char*> words = {program};
  for (std::string& word : rest) words.push_back(word.data());
  int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  ::testing::InitGoogleTest(&count, words.data());
  if (count > 1) {
    std::fprintf(stderr, "%s: unknown option %s\n", program, words[1]);
    return 2;
  }
  return RUN_ALL_TESTS();
}

}  // namespace lanecall::test

#endif
