// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer's way in. LANECALL_TARGET is one of targets.h.
#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  lanecall::fuzz::LANECALL_TARGET(data, size);
  return 0;
}
