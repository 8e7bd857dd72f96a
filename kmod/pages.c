// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page return: the shrinker.
 *
 * DOC: A runtime's free pages are a cache as good as any: it fills them again,
 * at a cost, if they are taken. So they take part in reclaim by a shrinker, in
 * proportion like all caches: a little when the kernel only looks ahead, all
 * of it when memory is nearly gone. What differs is that the pages cannot be
 * taken here. Whether one is free is known to the runtime alone, and may change
 * in the next instant; a page zapped an instant too late is data lost. And this
 * runs in whatever task wants memory, with unknown locks held: the mmap_lock of
 * another process must not be waited for. So all that happens is that the
 * runtime is told how much is wanted, and gives it back by itself.
 *
 * Nothing is freed meanwhile and nothing else is claimed: scan returns 0, or
 * SHRINK_STOP when all that there is has been asked for. What the runtime says
 * it could return is believed up to the resident size of its process, and the
 * sum up to the size of the memory, so that a lie costs no more than some turns
 * of the kernel's loop. A wrong number harms nobody else: every cache is shrunk
 * by its own count.
 *
 * The words in the region are the program's to change at any time. Adding to
 * them is tried once: a failed compare-and-swap says that the runtime is just
 * taking notice, or that somebody wants to keep us here.
 *
 * Only reclaim from all of memory comes here. A memory cgroup at its limit calls
 * just those shrinkers that are marked SHRINKER_MEMCG_AWARE and have a bit set
 * for that cgroup; the function that sets it, set_shrinker_bit(), is not
 * exported. Rejected: a memcg-aware list_lru with one accounted object for each
 * group, by which list_lru_add() would set it. Its signature has changed
 * thrice since 6.1, objects must follow when a cgroup goes offline, and what
 * the process would learn from it memory.events and memory.pressure tell it
 * without a module.
 *
 * Users make as many groups as they like, so one call looks at no more than
 * MAX_GROUPS, the next one at those that follow, and who finds another at it
 * does without: somebody else's reclaim must not wait for all of them.
 *
 * Rejected: to wait for the runtime (reclaim must not depend on a process that
 * may be stopped), and an eventfd (the service worker is there already).
 */
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>
#include <linux/swap.h>

#include "compat.h"
#include "group.h"
#include "pages.h"
#include "park.h"
#include "trace.h"

static uint pages_interval_ms = 100;
module_param(pages_interval_ms, uint, 0644);
MODULE_PARM_DESC(pages_interval_ms, "Between two wake-ups of a group for pages");

/* 2 MiB: a huge page. Reclaim deals in parts of this size. */
#define BATCH_PAGES	512

/* As many as a busy machine has; each takes some reads that miss the cache. */
#define MAX_GROUPS	64

static struct shrinker *shrinker;

/*
 * Held while some groups are walked. Tried by who reclaims memory, so nothing
 * may be allocated with it held. Outer to the lock of a group.
 */
static DEFINE_SPINLOCK(pages_lock);
static LIST_HEAD(pages_groups);

/* Context: Process context, here and in the next. */
void kaus_pages_add(struct kaus_group *g)
{
	spin_lock(&pages_lock);
	list_add(&g->in_pages, &pages_groups);
	spin_unlock(&pages_lock);
}

/* Afterwards nobody reclaims from @g. */
void kaus_pages_del(struct kaus_group *g)
{
	spin_lock(&pages_lock);
	list_del(&g->in_pages);
	spin_unlock(&pages_lock);
}

/* What may be had from @g. */
static u64 count_of(const struct kaus_group *g)
{
	u64 nr = READ_ONCE(g->hdr->returnable);

	return min_t(u64, nr, get_mm_rss(g->mm));
}

/* Of those whose turn it is. */
static u64 count_some(void)
{
	const struct kaus_group *g;
	unsigned int nr = 0;
	u64 sum = 0;

	lockdep_assert_held(&pages_lock);
	list_for_each_entry(g, &pages_groups, in_pages) {
		if (nr++ == MAX_GROUPS)
			break;
		if (!kaus_group_is_shutdown(g))
			sum += count_of(g);
	}
	return min_t(u64, sum, totalram_pages());
}

static void next_turn(void)
{
	struct kaus_group *g;
	unsigned int nr = 0;

	lockdep_assert_held(&pages_lock);
	list_for_each_entry(g, &pages_groups, in_pages) {
		if (nr++ < MAX_GROUPS)
			continue;
		list_rotate_to_front(&g->in_pages, &pages_groups);
		break;
	}
}

static unsigned long pages_count(struct shrinker *unused,
				 struct shrink_control *sc)
{
	u64 sum;

	if (list_empty(&pages_groups))
		return SHRINK_EMPTY;
	if (!spin_trylock(&pages_lock))
		return 0;
	sum = count_some();
	if (!sum)
		next_turn();
	spin_unlock(&pages_lock);
	return sum ? sum : SHRINK_EMPTY;
}

/* True if that many more are wanted of @g now. */
static bool add_wanted(struct kaus_group *g, u64 *want, u64 count)
{
	struct kaus_header *hdr = g->hdr;
	__u64 old = READ_ONCE(hdr->wanted);

	if (old >= count)
		return false;
	*want = min(*want, count - old);
	if (try_cmpxchg(&hdr->wanted, &old, old + *want))
		WRITE_ONCE(g->nr_pages_asked, g->nr_pages_asked + *want);
	return true;
}

/* Ask @g for its share of @nr pages. False if it is asked for all it has. */
static bool ask(struct kaus_group *g, u64 nr, u64 all, u32 why)
{
	u64 now = ktime_get_ns(), count = count_of(g), want;
	struct task_struct *task = NULL;
	unsigned long flags;
	bool asked = false;

	if (!count)
		return false;
	want = DIV_ROUND_UP(nr * count, all);

	rcu_read_lock();
	raw_spin_lock_irqsave(&g->lock, flags);
	/* The region may be that of another group by now. */
	if (g->shutdown)
		goto out;
	asked = add_wanted(g, &want, count);
	if (asked)
		atomic_or(why, (atomic_t *)&g->hdr->wanted_why);
	if (now >= g->pages_wake_ns) {
		g->pages_wake_ns = now + (u64)READ_ONCE(pages_interval_ms) *
					 NSEC_PER_MSEC;
		WRITE_ONCE(g->nr_pages_wakes, g->nr_pages_wakes + 1);
		task = kaus_park_serve_locked(g);
		trace_kaus_pages(g, count, asked ? want : 0, why, true);
	} else if (asked) {
		trace_kaus_pages(g, count, want, why, false);
	}
out:
	raw_spin_unlock_irqrestore(&g->lock, flags);
	if (task)
		wake_up_process(task);
	rcu_read_unlock();
	return asked;
}

static bool ask_some(u64 nr, u64 all, u32 why)
{
	unsigned int nr_groups = 0;
	struct kaus_group *g;
	bool asked = false;

	lockdep_assert_held(&pages_lock);
	list_for_each_entry(g, &pages_groups, in_pages) {
		if (nr_groups++ == MAX_GROUPS)
			break;
		asked |= ask(g, nr, all, why);
	}
	return asked;
}

static unsigned long pages_scan(struct shrinker *unused,
				struct shrink_control *sc)
{
	u32 why = current_is_kswapd() ? KAUS_WANTED_KSWAPD : KAUS_WANTED_DIRECT;
	bool asked = false;
	u64 all, nr;

	if (!spin_trylock(&pages_lock))
		return SHRINK_STOP;
	all = count_some();
	nr = min_t(u64, sc->nr_to_scan, all);
	if (nr)
		asked = ask_some(nr, all, why);
	next_turn();
	spin_unlock(&pages_lock);
	return asked ? 0 : SHRINK_STOP;
}

int kaus_pages_init(void)
{
	shrinker = kaus_shrinker_start("kaus", pages_count, pages_scan,
				       BATCH_PAGES);
	return shrinker ? 0 : -ENOMEM;
}

void kaus_pages_exit(void)
{
	kaus_shrinker_end(shrinker);
}
