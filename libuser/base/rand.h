/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* xorshift: the order in which victims are tried, nothing else. */
#ifndef KR_BASE_RAND_H
#define KR_BASE_RAND_H

#include <stdint.h>

/* State must not be 0. G. Marsaglia, "Xorshift RNGs", 2003, triple 13/17/5. */
static inline uint32_t kr_rand(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

#endif /* KR_BASE_RAND_H */
