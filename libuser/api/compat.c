/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The way in for libkausgc: gc/compat.h. */
#include "gc/compat.h"

#include "base/barrier.h"
#include "gc/enter.h"
#include "gc/gc.h"
#include "mem/cache.h"
#include "mem/heap.h"
#include "mem/pages.h"
#include "os/os.h"
#include "sched/sched.h"

static void mark(struct kr_marker *mk, const void *lo, const void *hi)
{
	if (lo >= hi)
		return;
	mk->root_bytes += (uintptr_t)hi - (uintptr_t)lo;
	kr_mark_range(mk, lo, hi);
}

static bool find(const void *addr, struct kr_gc_object *ret_obj)
{
	struct kr_span *s;
	uint32_t index;

	if (!kr_obj_find(addr, &s, &index))
		return false;
	ret_obj->base = kr_obj_base(s, index);
	ret_obj->bytes = kr_obj_bytes(s);
	ret_obj->noscan = s->kind == KR_NOSCAN;
	ret_obj->typed = s->kind == KR_TYPED;
	ret_obj->marked = kr_is_marked(s, index);
	return true;
}

static void hold(int by)
{
	struct kr_gc_thread *t = kr_gc_thread_self();

	if (t)
		WRITE_ONCE(t->nr_holds, (uint8_t)(t->nr_holds + by));
}

static struct kr_gc_usage *sums;	/* by whoever has sums_lock */
static uint32_t sums_lock;

static void add_cache(struct kr_cache *cache)
{
	sums->total_bytes += READ_ONCE(cache->claimed_bytes) +
			     READ_ONCE(cache->large_bytes);
	sums->freed_bytes += READ_ONCE(cache->freed_bytes);
}

static void read_usage(struct kr_gc_usage *ret_usage)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };
	struct kr_page_stats pages;
	struct m *mp;

	*ret_usage = (struct kr_gc_usage){ 0 };
	/* Not suspended with the lock of the pages. */
	if (!kr_gc_enter(&mp))
		return;
	kr_pages_read_stats(&pages);
	ret_usage->heap_bytes = pages.committed_pages << KR_HPAGE_SHIFT;
	ret_usage->free_bytes = pages.free_pages << KR_HPAGE_SHIFT;
	ret_usage->returned_bytes = (pages.free_pages - pages.returnable_pages)
				    << KR_HPAGE_SHIFT;
	kr_lock(&sums_lock);
	sums = ret_usage;
	kr_caches_for_each(add_cache);
	kr_unlock(&sums_lock);
	kr_gc_read_stats(&st);
	if (st.heap_live_bytes > st.heap_marked_bytes)
		ret_usage->since_bytes = st.heap_live_bytes -
					 st.heap_marked_bytes;
	kr_gc_exit(mp);
}

static const struct kr_gc_compat compat = {
	.mark = mark,
	.mark_contents = kr_mark_contents,
	.drain = kr_mark_drain,
	.find = find,
	.hold = hold,
	.read_usage = read_usage,
	.stack_end = kr_thread_stack_end,
};

KR_API const struct kr_gc_compat *
kaus_gc_compat(const struct kr_gc_hooks *hooks)
{
	const struct kr_gc_hooks *none = NULL;

	if (kr_gc_start())
		return NULL;
	if (hooks && !__atomic_compare_exchange_n(&kr_gc_hooks, &none, hooks,
						  false, __ATOMIC_ACQ_REL,
						  __ATOMIC_ACQUIRE) &&
	    none != hooks)
		return NULL;
	return &compat;
}
