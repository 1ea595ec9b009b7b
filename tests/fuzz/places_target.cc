// SPDX-License-Identifier: Apache-2.0
//
// Spans and places that the other side names, against arithmetic of 128 bits,
// which does not overflow.
#include <lanecall/region.h>
#include <placement.h>

#include <algorithm>
#include <array>

#include "choices.h"
#include "targets.h"

namespace lanecall::fuzz {
namespace {

using Wide = unsigned __int128;

struct Span {
  Wide from;
  Wide bytes;
  Wide end() const { return from + bytes; }
};

bool isInside(const Span& span, Wide size) { return span.end() <= size; }

bool shareAByte(const Span& a, const Span& b) {
  return std::max(a.from, b.from) < std::min(a.end(), b.end());
}

// Near what matters, or anywhere.
__u64 number(Choices& choices, __u64 size, __u64 page) {
  const std::array<__u64, 5> from = {0, size, ~__u64{0}, page, __u64{1} << 63};
  switch (choices.below(4)) {
    case 0:
      return choices.longWord();
    case 1:
      return size ? choices.longWord() % size / page * page : 0;
    case 2:
      return choices.word() * page;
    default:
      return from[choices.below(from.size())] + __u64{choices.below(3)} - 1;
  }
}

void span(Choices& choices) {
  const __u64 size = number(choices, choices.longWord(), 4096);
  const __u64 offset = number(choices, size, 1);
  const __u64 bytes = number(choices, size, 1);
  require((lanecall_is_valid_span(offset, bytes, size) != 0) ==
              isInside({offset, bytes}, size),
          "a span is valid when it lies inside, only then");
}

void placement(Choices& choices) {
  // As the driver chose them; only the rest comes from the device.
  const __u32 page = 1u << (LANECALL_PAGE_SHIFT_MIN +
                            choices.below(LANECALL_PAGE_SHIFT_MAX -
                                          LANECALL_PAGE_SHIFT_MIN + 1));
  auto ringBytes = [&] {
    return 1u << (LANECALL_RING_SHIFT_MIN +
                  choices.below(LANECALL_RING_SHIFT_MAX -
                                LANECALL_RING_SHIFT_MIN + 1));
  };
  const __u32 tx = ringBytes(), rx = ringBytes();
  const __u64 card = choices.flip() ? __u64{choices.byte()} << 20
                                    : number(choices, 1u << 26, page);
  const lanecall_placement at = {number(choices, card, page),
                                 number(choices, card, page),
                                 number(choices, card, page)};
  const std::array<Span, 3> parts = {
      Span{at.index, std::max<__u32>(page, LANECALL_INDEX_BYTES)},
      Span{at.tx, std::max(tx, page)}, Span{at.rx, std::max(rx, page)}};
  bool good = true;
  for (const Span& part : parts)
    good = good && part.from % page == 0 && isInside(part, card);
  good = good && !shareAByte(parts[0], parts[1]) &&
         !shareAByte(parts[0], parts[2]) && !shareAByte(parts[1], parts[2]);
  require((lanecall_placement_is_valid(&at, tx, rx, page, card) != 0) == good,
          "places are believed when inside, aligned and apart, only then");
}

}  // namespace

void places(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  while (!choices.isOver()) {
    if (choices.flip())
      span(choices);
    else
      placement(choices);
  }
}

}  // namespace lanecall::fuzz
