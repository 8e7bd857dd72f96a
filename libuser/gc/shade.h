/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* References that the collector cannot see move. */
#ifndef KR_GC_SHADE_H
#define KR_GC_SHADE_H

/**
 * kr_gc_shade() - An object is referred to, and stays until the next cycle.
 * @addr: In it; or any other value.
 *
 * To be called for what is read from, or taken out of, a place that is not
 * scanned, or is scanned and then changed: weak pointers, queues. Does nothing
 * outside of marking: barrier.c.
 *
 * Context: preemption off, or a plain thread in kr_plain_enter() or with a P's
 * timer_lock, which whoever stops the world takes.
 */
void kr_gc_shade(const void *addr);

#endif /* KR_GC_SHADE_H */
