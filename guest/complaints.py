# SPDX-License-Identifier: Apache-2.0
"""What a kernel says on its console when something is wrong with it or with a
module. A debug kernel (build-debug-kernel) has more to say than a stock one.
"""

import re

_COMPLAINTS = re.compile(
    # Every kernel
    r"BUG:|WARNING:|Oops|general protection|Kernel panic|Call Trace|"
    r"rcu: INFO|INFO: task .* blocked|kernel stack|unable to handle|"
    # KASAN, UBSAN, the allocator, lists, reference counts, debug objects
    r"KASAN:|UBSAN:|BUG \S+ \(|list_(?:add|del) corruption|refcount_t:|"
    r"ODEBUG:|"
    # Locks and RCU
    r"INFO: possible|INFO: trying to register non-static key|"
    r"possible (?:circular|recursive) locking|suspicious RCU usage|"
    # DMA mappings
    r"DMA-API:.*(?:error|leak|check|pending|overlapping)|"
    # kmemleak, which init asks at the end; and a checker that gave up
    r"unreferenced object|kmemleak: .*suspected memory leaks|"
    r"kmemleak: .*(?:disabled|disabling)|turning off the locking correctness|"
    # (but not where the command line wants it so)
    r"MAX_LOCK\w+ too low|"
    r"DMA-API: .*(?:disabling|disabled(?! on kernel command line))")

# A checker's limit, and nobody's fault: it counts up to 7 mappings of the same
# memory, and programs may lend theirs more often. Said once for each boot.
_BEGIN = r"-+\[ cut here \]-+\n"
_END = r"-+\[ end trace \w+ \]-+"
_LIMITS = re.compile(
    _BEGIN + r"[^\n]*DMA-API: exceeded 7 overlapping mappings of cacheline.*?"
    + _END, re.DOTALL)


def first(console):
    """The first complaint in the console's text, or None."""
    found = _COMPLAINTS.search(_LIMITS.sub("", console))
    return found.group() if found else None
