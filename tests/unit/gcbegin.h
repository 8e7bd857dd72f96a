/* SPDX-License-Identifier: GPL-2.0-only */
/* The beginning of a cycle and no more, for tests that know the library inside. */
#ifndef GCBEGIN_H
#define GCBEGIN_H

#include "gctest.h"

#include "gc/state.h"
#include "mem/heap.h"
#include "sched/sched.h"

/*
 * Of a concurrent cycle only the first stop, and preemption is off: where there
 * is no other P nobody marks until kaus_preempt_enable().
 */
static inline void begin_cycle(void)
{
	struct m *mp;

	kaus_preempt_disable();
	mp = kr_enter();
	mp = kr_gc_begin(mp, true);
	kr_exit(mp);
	CHECK(READ_ONCE(kr_heap.marking));
}

#endif /* GCBEGIN_H */
