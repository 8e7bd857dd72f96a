/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Pages of partly used spans that no object is on: trim.c. */
#ifndef KR_MEM_TRIM_H
#define KR_MEM_TRIM_H

#include <stdint.h>

#include "mem/heap.h"

/**
 * kr_trim_some() - Return such pages of some spans to the kernel.
 * @cursor: Number to begin below; UINT32_MAX: all. Then where to go on, 0: end.
 * @ret_pages: So many pages of the kernel's were returned.
 *
 * Holds the trimming lock for some tens of microseconds. Context: a thread that
 * has the time. Return: 0, or -errno: the kernel refuses.
 */
int kr_trim_some(uint32_t *cursor, uint32_t *ret_pages);

/* No span is held meanwhile. World stopped. */
void kr_trim_lock(void);
void kr_trim_unlock(void);

/* Some objects of word @w are about to be used: their pages are touched. */
void kr_trim_used(struct kr_span *s, uint32_t w, uint64_t objs);

#endif /* KR_MEM_TRIM_H */
