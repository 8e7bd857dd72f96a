/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Announced sleeps in the kernel. */
#ifndef KR_SCHED_BLOCK_H
#define KR_SCHED_BLOCK_H

#include <stdbool.h>

struct m;

/**
 * kr_block_begin() - Give up the P for as long as the kernel needs.
 * @mp: The M, from kr_enter().
 * @now: Find another M for it at once, not when somebody has looked twice.
 *
 * Return: true if it did, and preemption is to stay off; false if the module
 * will see to it, for which preemption must be on.
 */
bool kr_block_begin(struct m *mp, bool now);

/* True: the M has its P again, or another one, and preemption is still off. */
bool kr_block_end(struct m *mp);

#endif /* KR_SCHED_BLOCK_H */
