/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Plain threads whose stacks count. Entries are used again and never freed. A
 * thread adds itself with the lock that the collector holds while it has others
 * suspended: it then appears before or after, and not in between.
 *
 * A registered thread allocates from a cache of its own, without a lock: while
 * it is at it, it is busy (sched/suspend.c), so no cycle finds the cache half
 * changed. The cache stays with the entry, and is empty when the thread is gone.
 */
#include <errno.h>

#include "base/barrier.h"
#include "gc/gc.h"
#include "mem/persist.h"
#include "os/os.h"

#define NAP_NS		20000ULL
#define RED_ZONE_BYTES	128

static struct {
	uint32_t lock;
	struct kr_gc_thread *first;
} threads;

static __thread struct kr_gc_thread *kr_tls_gc_thread
	__attribute__((tls_model("initial-exec")));
__thread struct kr_gc_thread *kr_tls_plain;

struct kr_gc_thread *kr_gc_thread_self(void)
{
	return kr_tls_gc_thread;
}

static struct kr_gc_thread *get_entry(void)
{
	struct kr_gc_thread *t;

	kr_lock(&threads.lock);
	for (t = threads.first; t && t->in_use; t = t->next)
		;
	if (t)
		t->in_use = true;
	kr_unlock(&threads.lock);
	if (t)
		return t;
	t = kr_persist_alloc(sizeof(*t));
	if (!t)
		return NULL;
	t->cache = kr_persist_alloc(sizeof(*t->cache));
	if (!t->cache)
		return NULL;
	kr_cache_add(t->cache);
	kr_lock(&threads.lock);
	t->next = threads.first;
	threads.first = t;
	t->in_use = true;
	kr_unlock(&threads.lock);
	return t;
}

int kr_gc_thread_add(void)
{
	struct kr_gc_thread *t;
	uintptr_t hi;
	int err;

	if (kr_tls_gc_thread)
		return -EEXIST;
	err = kr_thread_stack_end(&hi);
	if (err)
		return err;
	t = get_entry();
	if (!t)
		return -ENOMEM;
	/* A collector that finds it meanwhile asks a thread of another time. */
	kr_lock(&threads.lock);
	t->stack_hi = hi;
	t->knows_regs = false;
	kr_suspend_register(&t->suspend);
	kr_unlock(&threads.lock);
	kr_tls_gc_thread = t;
	kr_tls_plain = t;
	return 0;
}

/* What it has claimed is for others now. */
static void empty_cache(void)
{
	struct kr_cache *cache;

	if (!kr_tls_plain)
		return;
	cache = kr_plain_enter();
	kr_cache_flush(cache);
	kr_pages_flush(&cache->pages);
	WRITE_ONCE(kr_tls_plain->due, false);
	kr_plain_leave();
	kr_tls_plain = NULL;
}

int kr_gc_thread_del(void)
{
	struct kr_gc_thread *t = kr_tls_gc_thread;

	if (!t)
		return -ENOENT;
	empty_cache();
	kr_lock(&threads.lock);
	kr_suspend_register(NULL);
	t->stack_hi = 0;
	t->in_use = false;
	kr_unlock(&threads.lock);
	kr_tls_gc_thread = NULL;
	return 0;
}

bool kr_gc_thread_rests(const struct kr_regs *regs)
{
	bool added = !kr_gc_thread_add();
	struct kr_gc_thread *t = kr_tls_gc_thread;

	if (!t)
		return false;
	empty_cache();
	kr_lock(&threads.lock);
	t->regs = *regs;
	t->knows_regs = true;
	kr_unlock(&threads.lock);
	return added;
}

void kr_gc_thread_rests_no_more(bool added)
{
	struct kr_gc_thread *t = kr_tls_gc_thread;

	if (!t)
		return;
	if (added) {
		kr_gc_thread_del();
		return;
	}
	kr_lock(&threads.lock);
	t->knows_regs = false;
	kr_unlock(&threads.lock);
	kr_tls_plain = t;
}

void kr_plain_leave_slow(struct kr_gc_thread *t)
{
	if (READ_ONCE(t->suspend.late))
		kr_suspend_late(&t->suspend);
	if (!READ_ONCE(t->due) || t->nr_holds)
		return;
	WRITE_ONCE(t->due, false);
	if (kr_gc_is_possible())
		kr_gc_collect(NULL, false);
}

bool kr_gc_threads_forked(void)
{
	struct kr_gc_thread *self = kr_tls_gc_thread, *t;
	bool others = false;

	for (t = threads.first; t; t = t->next) {
		if (t == self) {
			t->suspend.tid = kr_thread_tid();
			continue;
		}
		others = others || t->in_use;
		t->stack_hi = 0;
		t->in_use = false;
	}
	return others;
}

static bool is_other(const struct kr_gc_thread *t,
		     const struct kr_gc_thread *self)
{
	return t != self && t->stack_hi && !t->knows_regs;
}

void kr_gc_threads_suspend(const struct kr_gc_thread *self)
{
	struct kr_gc_thread *t;
	bool all;

	kr_lock(&threads.lock);
	for (t = threads.first; t; t = t->next)
		if (is_other(t, self))
			kr_suspend_ask(&t->suspend);
	do {
		all = true;
		for (t = threads.first; t; t = t->next)
			if (is_other(t, self) &&
			    !kr_suspend_is_done(&t->suspend))
				all = false;
		if (!all)
			kr_clock_sleep_ns(NAP_NS);
	} while (!all);
}

void kr_gc_threads_resume(const struct kr_gc_thread *self)
{
	for (struct kr_gc_thread *t = threads.first; t; t = t->next)
		if (is_other(t, self))
			kr_suspend_end(&t->suspend);
	kr_unlock(&threads.lock);
}

void kr_gc_threads_scan(kr_scan_fn fn, void *arg)
{
	for (struct kr_gc_thread *t = threads.first; t; t = t->next) {
		uintptr_t sp = t->suspend.sp;

		if (!t->stack_hi)
			continue;
		if (kr_suspend_is_done(&t->suspend)) {
			fn(arg, t->suspend.frame,
			   (const void *)t->suspend.frame_end);
		} else {
			fn(arg, &t->regs, &t->regs + 1);
			sp = t->regs.sp;
		}
		fn(arg, (const void *)(sp - RED_ZONE_BYTES),
		   (const void *)t->stack_hi);
	}
}
