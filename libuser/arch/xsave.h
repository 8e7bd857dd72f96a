/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* How this CPU saves its extended state. */
#ifndef KR_ARCH_XSAVE_H
#define KR_ARCH_XSAVE_H

#include <cpuid.h>
#include <stdint.h>

#include "offsets.h"

/**
 * kr_xsave_probe() - Choose the instruction and the buffer size.
 * @ret_size: Bytes for all components the OS has enabled.
 *
 * Intel SDM vol. 1, 13.2: CPUID leaf 13.
 *
 * Return: XSAVE_*.
 */
static inline uint32_t kr_xsave_probe(uint32_t *ret_size)
{
	uint32_t a, b, c, d;

	*ret_size = 512;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1U << 27)))
		return XSAVE_FX;
	if (!__get_cpuid_count(13, 0, &a, &b, &c, &d))
		return XSAVE_FX;
	*ret_size = b;
	if (__get_cpuid_count(13, 1, &a, &b, &c, &d) && (a & (1U << 1)))
		return XSAVE_COMPACT;
	return XSAVE_STD;
}

#endif /* KR_ARCH_XSAVE_H */
