// SPDX-License-Identifier: Apache-2.0
#include "latencies.h"

#include <cmath>

namespace lanecall::bench {

std::vector<double> percentiles(std::vector<std::uint32_t>& values,
                                const std::vector<double>& shares) {
  std::vector<double> found;
  // What is left of here is no larger than what is right of it.
  auto from = values.begin();
  for (double share : shares) {
    const double rank =
        std::ceil(share * static_cast<double>(values.size())) - 1;
    const auto at =
        values.begin() + static_cast<std::ptrdiff_t>(std::max(rank, 0.0));
    if (at > from || found.empty()) {
      std::nth_element(from, at, values.end());
      from = at;
    }
    found.push_back(*at);
  }
  return found;
}

}  // namespace lanecall::bench
