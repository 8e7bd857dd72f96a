/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Into the runtime, for calls that change what the collector knows. */
#ifndef KR_GC_ENTER_H
#define KR_GC_ENTER_H

#include "gc/gc.h"
#include "sched/sched.h"

/*
 * As kr_enter(). The collector suspends plain threads anywhere, but not between
 * these two. False: there is no heap.
 */
static inline bool kr_gc_enter(struct m **ret_mp)
{
	*ret_mp = kr_enter();
	return *ret_mp || kr_plain_enter();
}

static inline void kr_gc_exit(struct m *mp)
{
	if (mp)
		kr_exit(mp);
	else
		kr_plain_leave();
}

#endif /* KR_GC_ENTER_H */
