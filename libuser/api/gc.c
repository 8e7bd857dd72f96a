/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The collector, for programs. */
#include <errno.h>
#include <kaus/gc.h>
#include <pthread.h>

#include "gc/gc.h"
#include "mem/heap.h"
#include "mem/root.h"
#include "obs/env.h"
#include "sched/sched.h"

_Static_assert(sizeof(struct kaus_gc_root) == sizeof(struct kr_root),
	       "kaus_gc_root");

int kr_gc_start(void)
{
	static uint32_t once;
	struct kr_settings set;
	int err;

	if (kr_gc_is_on())
		return 0;
	err = kr_env_settings(NULL, &set);
	if (!err)
		err = kr_heap_init();
	if (!err)
		err = kr_suspend_init();
	if (!err && kr_cas(&once, 0, 1))
		err = -pthread_atfork(NULL, NULL, kr_gc_forked);
	if (err)
		return err;
	kr_gc_init(&(struct kr_gc_settings){
		.percent = set.gc_percent,
		.limit_bytes = set.gc_limit_bytes,
		.no_data = set.gc_no_data,
		.trace = set.gc_trace,
		.concurrent = set.gc_concurrent,
		.pages = set.gc_pages,
		.check = set.gc_check,
		.poison = set.gc_poison,
		.huge_pages = set.gc_huge_pages,
		.heap_profile_rate = set.heap_profile_rate,
	}, set.nr_procs);
	return 0;
}

KR_API int kaus_gc(void)
{
	struct m *mp = kr_enter();

	if (!mp && (kr_self() || !kr_gc_thread_self() || !kr_gc_is_possible()))
		return -EPERM;
	mp = kr_gc_collect(mp, true);
	kr_exit_any(mp);
	return 0;
}

KR_API int kaus_gc_set(enum kaus_gc_setting what, int64_t value)
{
	struct m *mp = kr_enter();
	int err = what == KAUS_GC_LIMIT ? kr_gc_limit_set(value) :
					  kr_gc_set(what, value);

	kr_exit_any(mp);
	return err;
}

KR_API int64_t kaus_gc_get(enum kaus_gc_setting what)
{
	struct m *mp = kr_enter();
	int64_t value = kr_gc_get(what);

	kr_exit_any(mp);
	return value;
}

KR_API int kaus_gc_root_add(struct kaus_gc_root *root, const void *addr,
			    size_t len)
{
	struct m *mp;

	if (!root || (uintptr_t)addr + len < (uintptr_t)addr)
		return -EINVAL;
	mp = kr_enter();
	kr_root_add((struct kr_root *)root, addr, (const char *)addr + len);
	kr_exit_any(mp);
	return 0;
}

KR_API void kaus_gc_root_del(struct kaus_gc_root *root)
{
	struct m *mp = kr_enter();

	kr_root_del((struct kr_root *)root);
	kr_exit_any(mp);
}

KR_API int kaus_gc_thread_register(void)
{
	int err;

	if (kr_self())
		return -EPERM;
	err = kr_gc_start();
	return err ? err : kr_gc_thread_add();
}

KR_API int kaus_gc_thread_unregister(void)
{
	return kr_gc_thread_del();
}

KR_API void kaus_gc_limit_handler_set(void (*fn)(void *arg), void *arg)
{
	struct m *mp = kr_enter();

	kr_gc_limit_handler_set(fn, arg);
	kr_exit_any(mp);
}

KR_API int kaus_gc_pacer_read(struct kaus_gc_pacer *p)
{
	struct m *mp;

	if (p->size != sizeof(*p))
		return -EINVAL;
	mp = kr_enter();
	kr_gc_read_pacer(p);
	kr_exit_any(mp);
	return 0;
}

KR_API int kaus_gc_stats_read(struct kaus_gc_stats *st)
{
	struct m *mp;

	if (st->size != sizeof(*st))
		return -EINVAL;
	mp = kr_enter();
	kr_gc_read_stats(st);
	kr_exit_any(mp);
	return 0;
}
