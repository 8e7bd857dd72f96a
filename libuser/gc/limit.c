/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The soft limit of the heap follows the control group's. And other reasons to
 * collect than that the heap has grown.
 *
 * DOC: Unless the user or the program has set a limit it is nine tenths of what
 * memory.max and memory.high allow, of the process's group and those above it;
 * the rest is for what the kernel has on the process's account. What the process
 * has in memory beside the heap, stacks and what malloc() gave, counts against it.
 * About once a second, while goroutines run,
 * somebody looks whether that has changed (sched/follow.c). A lower limit makes
 * the collector run more often, as pacer.c has it, with its guard against
 * collecting for ever; and free pages go back to the kernel until what is left
 * fits. If a cycle is due by it then a goroutine makes one, for those who have
 * allocated all this may not do so again soon.
 *
 * A limit may be below what is in use. Then the program is told, if it has asked
 * for that: it may have something to drop. There is nothing else to be done
 * here, and the kernel does what it does.
 *
 * A cycle is also made when there was none for minutes, for the sake of
 * finalizers and of memory that could go back. Not in a process that is idle: it
 * would wake up for it.
 */
#include "base/barrier.h"
#include "gc/gc.h"
#include "gc/state.h"
#include "mem/scavenge.h"
#include "os/os.h"
#include "sched/sched.h"

#define SPARE_PART	10

static struct {
	uint32_t lock;
	bool fixed;
	uint64_t last;		/* the group's */
} limit = { .last = UINT64_MAX };

int kr_gc_limit_set(int64_t value)
{
	int err;

	kr_lock(&limit.lock);
	err = kr_gc_set(KAUS_GC_LIMIT, value);
	limit.fixed |= !err;
	kr_unlock(&limit.lock);
	return err;
}

/* Pages in use and free ones that cost memory. */
static uint64_t heap_pages(void)
{
	struct kr_page_stats st;

	kr_pages_read_stats(&st);
	return st.committed_pages - st.free_pages + st.returnable_pages;
}

/* Too little rather than too much: pages in use need not be there. */
static uint64_t other_bytes(void)
{
	uint64_t heap = heap_pages() << KR_HPAGE_SHIFT;
	uint64_t all = kr_proc_resident();

	return all > heap ? all - heap : 0;
}

/* Until the heap is not more than @bytes. */
static void give_back(uint64_t bytes)
{
	uint64_t max_pages = bytes >> KR_HPAGE_SHIFT, nr = heap_pages();

	if (nr <= max_pages)
		return;
	nr -= max_pages;
	nr -= kr_scavenge(nr);
	if (nr)
		kr_scavenge_spans(nr << KR_HPAGE_SHIFT);
}

static struct {
	uint32_t is_there;
	bool forced;
} collector;

static void collect(void *arg)
{
	struct m *mp = kr_enter();

	(void)arg;
	mp = kr_gc_collect(mp, READ_ONCE(collector.forced));
	WRITE_ONCE(collector.forced, false);
	WRITE_ONCE(collector.is_there, 0);
	kr_exit(mp);
}

void kr_gc_period_look(void)
{
	bool is_due;

	kr_lock(&kr_gc.lock);
	is_due = kr_gc.period_ns && kr_gc.pacer.percent >= 0 &&
		 kr_clock_now_ns() - kr_gc.end_ns >= kr_gc.period_ns;
	kr_unlock(&kr_gc.lock);
	if (!is_due || READ_ONCE(kr_heap.marking))
		return;
	WRITE_ONCE(collector.forced, true);
	kr_gc_g_start(NULL, collect, &collector.is_there);
}

/* ---- who wants to know ---- */

static struct {
	uint32_t lock;
	uint32_t is_there;
	void (*fn)(void *arg);
	void *arg;
} call;

static void call_back(void *arg)
{
	struct m *mp = kr_enter();
	void (*fn)(void *arg);

	kr_lock(&call.lock);
	fn = call.fn;
	arg = call.arg;
	kr_unlock(&call.lock);
	kr_exit(mp);
	if (fn)
		fn(arg);
	mp = kr_enter();
	WRITE_ONCE(call.is_there, 0);
	kr_exit(mp);
}

void kr_gc_limit_handler_set(void (*fn)(void *arg), void *arg)
{
	kr_lock(&call.lock);
	WRITE_ONCE(call.fn, fn);
	call.arg = arg;
	kr_unlock(&call.lock);
}

void kr_gc_limit_look(struct m *mp)
{
	bool over;

	if (!READ_ONCE(call.fn))
		return;
	kr_lock(&kr_gc.lock);
	over = kr_pacer_is_over(&kr_gc.pacer);
	kr_unlock(&kr_gc.lock);
	if (over)
		kr_gc_g_start(mp, call_back, &call.is_there);
}

void kr_gc_limit_follow(uint64_t bytes)
{
	uint64_t mine = bytes - bytes / SPARE_PART, other;
	bool fixed;

	kr_scavenge_set_limited(bytes != UINT64_MAX);
	kr_lock(&limit.lock);
	fixed = limit.fixed;
	if (!fixed && bytes != limit.last)
		kr_gc_set(KAUS_GC_LIMIT,
			  bytes == UINT64_MAX ? -1 : (int64_t)mine);
	limit.last = bytes;
	kr_unlock(&limit.lock);
	if (fixed || bytes == UINT64_MAX) {
		kr_gc_set_other(0);
		return;
	}
	other = other_bytes();
	kr_gc_set_other(other);
	give_back(mine > other ? mine - other : 0);
	if (kr_gc_is_due())
		kr_gc_g_start(NULL, collect, &collector.is_there);
}
