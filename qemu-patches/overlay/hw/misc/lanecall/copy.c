/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying to memory of the guest's, and filling it.
 *
 * Much of it goes past the caches. A store that misses them has its line read
 * first and written back later: three transfers for each one that is wanted.
 * Memory that a virtine was cleaned from, or a large answer, is seldom in them,
 * and would drive out what is. Where it is after all, this takes half as long
 * again (docs/performance.md has the figures).
 */
#include "qemu/osdep.h"
#include "engine.h"

#ifdef HOST_X86_64 /* which has SSE2 */
#include <emmintrin.h>

#define VECTOR sizeof(__m128i)
#define LINE (4 * VECTOR)

static size_t bytes_to_alignment(const uint8_t *to, size_t bytes)
{
    return MIN(-(uintptr_t)to % VECTOR, bytes);
}

static void stream_copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    size_t head = bytes_to_alignment(to, bytes);

    memcpy(to, from, head);
    to += head;
    from += head;
    for (bytes -= head; bytes >= LINE; bytes -= LINE) {
        const __m128i *source = (const __m128i *)from;
        __m128i *target = (__m128i *)to;
        __m128i a = _mm_loadu_si128(source);
        __m128i b = _mm_loadu_si128(source + 1);
        __m128i c = _mm_loadu_si128(source + 2);
        __m128i d = _mm_loadu_si128(source + 3);

        _mm_stream_si128(target, a);
        _mm_stream_si128(target + 1, b);
        _mm_stream_si128(target + 2, c);
        _mm_stream_si128(target + 3, d);
        to += LINE;
        from += LINE;
    }
    memcpy(to, from, bytes);
}

static void stream_fill(uint8_t *to, uint8_t value, size_t bytes)
{
    size_t head = bytes_to_alignment(to, bytes);
    __m128i v = _mm_set1_epi8(value);

    memset(to, value, head);
    to += head;
    for (bytes -= head; bytes >= VECTOR; bytes -= VECTOR) {
        _mm_stream_si128((__m128i *)to, v);
        to += VECTOR;
    }
    memset(to, value, bytes);
}

/* Such stores are ordered by nothing else, and the guest is told soon. */
void lanecall_streamed(void)
{
    _mm_sfence();
}
#else
static void stream_copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void stream_fill(uint8_t *to, uint8_t value, size_t bytes)
{
    memset(to, value, bytes);
}

void lanecall_streamed(void)
{
}
#endif

static bool is_apart(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    return a + bytes <= b || b + bytes <= a;
}

/* Both may lie in card memory: a guest can lend anything that is memory. */
void lanecall_copy_to_guest(uint8_t *guest, const uint8_t *card, size_t bytes,
                            bool streams)
{
    if (streams && is_apart(guest, card, bytes)) {
        stream_copy(guest, card, bytes);
    } else {
        memmove(guest, card, bytes);
    }
}

void lanecall_fill_guest(uint8_t *guest, uint8_t value, size_t bytes,
                         bool streams)
{
    if (streams) {
        stream_fill(guest, value, bytes);
    } else {
        memset(guest, value, bytes);
    }
}
