// SPDX-License-Identifier: Apache-2.0
//
// Multiplies numbers in a client's memory by DMA: reads a piece of it into card
// memory, works on it there, writes it back, and has the next piece come
// meanwhile.
#ifndef LANECALL_SERVER_REGION_SCALER_H
#define LANECALL_SERVER_REGION_SCALER_H

#include <edu/Edu.h>
#include <lanecall/card_device.h>

#include <cstdint>

namespace lanecall {

// Edu's scaleRegion. Blocks; nothing of it is on its way when it returns or
// throws: the typed exceptions of the IDL.
void scaleByDma(CardDevice& device, const RegionReference& source,
                const RegionReference& target, std::int32_t factor);

}  // namespace lanecall

#endif
