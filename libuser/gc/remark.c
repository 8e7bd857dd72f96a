/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Cycles of programs that do not declare their stores.
 *
 * DOC: Marking goes on beside the program, and what the program has written is
 * looked at again: the kernel knows which pages that are (os/dirty.c). This is
 * what H.-J. Boehm, A. J. Demers and S. Shenker call mostly parallel collection
 * (PLDI 1991).
 *
 *	arm	No page counts as written. The program runs.
 *	begin	In one stop all roots are looked at, and what is allocated from
 *		now on is marked from birth, and has not been looked at.
 *	mark	As in any concurrent cycle.
 *	rounds	Pages written since are taken, and each marked object on them is
 *		looked at again, as far as it is on them. A page that is written
 *		once more counts once more. While that makes it much less.
 *	end	In a second stop stacks and all other roots are looked at again,
 *		and pages written since. If that is too much for a stop the
 *		world starts, for more rounds and another stop.
 *
 * Why nothing is lost: a reference that was not seen was written after its word
 * was looked at, or its word belongs to an object that was never looked at, one
 * that was born marked. Either way the word was written after its page counted
 * as not written: arming and taking come before looking. So the page is found in
 * the end, unless it was taken again before, and then that word was looked at,
 * for its object is marked: one that becomes marked later is looked at later.
 * This holds of each page for itself. An object may lie on many.
 *
 * An error, or a page that nobody can tell about, counts as written.
 *
 * Unlike a barrier of what is overwritten this asks nothing of the program, finds
 * garbage that died meanwhile less often, and costs it a fault for each page that
 * it writes to while a cycle is under way.
 */
#include "gc/remark.h"

#include <string.h>

#include "base/barrier.h"
#include "gc/state.h"
#include "mem/heap.h"
#include "mem/pages.h"
#include "os/os.h"
#include "sched/sched.h"

#define SLICE_BYTES	(512UL << 10)	/* some dozen microseconds */
#define STOPPED_SLICE	(16UL << 20)	/* fewer system calls */
#define ARM_BYTES	(16UL << 20)
#define RELEASE_BYTES	(2UL << 20)
#define GAP_BYTES	(64UL << 10)	/* less than a system call costs */
#define MAX_ROUNDS	4
#define FEW_BYTES	(256UL << 10)	/* can be looked at in a stop */

static struct {
	uint32_t lock;
	bool tried, possible;
	const char *wanted;

	bool again;			/* roots have been looked at */
	bool blind;			/* what was written is not known */
	uint32_t nr_rounds;
	bool stopped;			/* the world is, in this round */
	size_t slice_bytes, end;
	uint64_t last_bytes;
	size_t next KR_PAIR_ALIGNED;	/* offset in the heap */
	uint64_t bytes;			/* of this round, as yet */
} rm;

void kr_remark_init(const char *wanted)
{
	rm.wanted = wanted;
}

static bool find_way(void)
{
	if (rm.wanted && !strcmp(rm.wanted, "off"))
		return false;
	if (kr_heap_init() || !kr_dirty_open(rm.wanted))
		return false;
	/* All that it can ever have: what becomes accessible later is in it. */
	return !kr_dirty_add(kr_pages.base, (size_t)kr_pages.max_pages
					    << KR_HPAGE_SHIFT);
}

bool kr_remark_is_possible(void)
{
	if (smp_load_acquire(&rm.tried))
		return READ_ONCE(rm.possible);
	kr_lock(&rm.lock);
	if (!rm.tried) {
		rm.possible = find_way();
		/* Release: and what it has found. */
		smp_store_release(&rm.tried, true);
	}
	kr_unlock(&rm.lock);
	return rm.possible;
}

void kr_remark_forked(void)
{
	kr_dirty_forked();
	rm.lock = 0;
	rm.tried = rm.possible = false;
	rm.next = rm.end = 0;
}

static size_t heap_bytes(void)
{
	return (size_t)READ_ONCE(kr_heap.nr_table) << KR_HPAGE_SHIFT;
}

static size_t accessible_bytes(void)
{
	size_t bytes = heap_bytes();
	size_t max = (size_t)READ_ONCE(kr_pages.nr_pages) << KR_HPAGE_SHIFT;

	return bytes < max ? bytes : max;
}

/* Has objects that are looked at; may change while the program runs. */
static bool is_scanned(size_t at)
{
	struct kr_span *s = kr_span_of(kr_heap.base + at);

	return s && READ_ONCE(s->kind) != KR_NOSCAN;
}

/*
 * The next pages from *@lo to before @end that are worth watching, with small
 * gaps: what is not watched counts as written, and costs the program no fault.
 */
static bool next_run(size_t *lo, size_t *hi, size_t end)
{
	size_t at;

	while (*lo < end && !is_scanned(*lo))
		*lo += KR_HPAGE_BYTES;
	*hi = *lo;
	for (at = *lo; at < end && at <= *hi + GAP_BYTES; at += KR_HPAGE_BYTES)
		if (is_scanned(at))
			*hi = at + KR_HPAGE_BYTES;
	return *lo < end;
}

bool kr_remark_arm(struct m **mp)
{
	size_t end = accessible_bytes(), lo = 0, hi, part;
	int err = kr_dirty_begin();

	for (; !err && next_run(&lo, &hi, end); lo = hi) {
		/* In parts: page faults of the program may wait for one. */
		for (; lo < hi && !err; lo += part) {
			part = hi - lo < ARM_BYTES ? hi - lo : ARM_BYTES;
			err = kr_dirty_clean(kr_heap.base + lo, part);
			if (*mp)
				*mp = kr_gc_give_way(*mp);
		}
	}
	rm.again = false;
	rm.blind = false;
	rm.nr_rounds = 0;
	rm.last_bytes = UINT64_MAX;
	WRITE_ONCE(rm.end, 0);
	WRITE_ONCE(rm.next, 0);
	if (!err)
		return true;
	kr_dirty_end();
	/* What it needs was closed, by the program. */
	WRITE_ONCE(rm.possible, false);
	return false;
}

void kr_remark_disarm(void)
{
	kr_dirty_end();
}

void kr_remark_release(const struct m *mp)
{
	size_t end = accessible_bytes(), lo = 0, hi, part;

	while (next_run(&lo, &hi, end)) {
		for (; lo < hi; lo += part) {
			/* It may as well be left to the faults. */
			if (READ_ONCE(sched.stw) || READ_ONCE(kr_heap.marking) ||
			    (mp && READ_ONCE(mp->slot->events)))
				return;
			part = hi - lo < RELEASE_BYTES ? hi - lo : RELEASE_BYTES;
			kr_dirty_release(kr_heap.base + lo, part);
		}
	}
}

/* ---- variables ---- */

struct segment {
	struct kr_marker *mk;
	const char *lo, *hi;
	void (*fn)(void *arg, const void *lo, const void *hi);
};

static void written_in_segment(void *arg, const char *lo, const char *hi)
{
	const struct segment *seg = arg;

	seg->fn(seg->mk, lo > seg->lo ? lo : seg->lo,
		hi < seg->hi ? hi : seg->hi);
}

void kr_remark_segment(struct kr_marker *mk, const char *lo, const char *hi,
		       void (*fn)(void *arg, const void *lo, const void *hi))
{
	struct segment seg = { .mk = mk, .lo = lo, .hi = hi, .fn = fn };
	char *from = (char *)((uintptr_t)lo & ~(KR_PAGE_SIZE - 1));
	char *to = (char *)(((uintptr_t)hi + KR_PAGE_SIZE - 1) &
			    ~(KR_PAGE_SIZE - 1));

	/* One that cannot be watched says so when it is asked about. */
	if (!rm.again) {
		if (!kr_dirty_add(from, (size_t)(to - from)))
			(void)kr_dirty_clean(from, (size_t)(to - from));
		fn(mk, lo, hi);
	} else if (kr_dirty_each(from, to, false, written_in_segment, &seg)) {
		fn(mk, lo, hi);
	}
}

void kr_remark_again(void)
{
	rm.again = true;
}

/* ---- the heap ---- */

static void round_begin(bool stopped)
{
	WRITE_ONCE(rm.end, 0);
	rm.stopped = stopped;
	rm.slice_bytes = stopped ? STOPPED_SLICE : SLICE_BYTES;
	WRITE_ONCE(rm.bytes, 0);
	WRITE_ONCE(rm.next, 0);
	/* Release: who sees the end sees the rest. */
	smp_store_release(&rm.end, accessible_bytes());
}

bool kr_remark_next_round(void)
{
	uint64_t last = rm.last_bytes, bytes = READ_ONCE(rm.bytes);

	if (!kr_dirty_takes() || rm.nr_rounds >= MAX_ROUNDS)
		return false;
	if (rm.nr_rounds++) {
		rm.last_bytes = bytes;
		if (bytes <= FEW_BYTES || bytes > last / 2)
			return false;
	}
	round_begin(false);
	return true;
}

void kr_remark_last_round(void)
{
	round_begin(true);
}

void kr_remark_was_not_last(void)
{
	WRITE_ONCE(rm.end, 0);
	rm.last_bytes = UINT64_MAX;
	rm.nr_rounds = 0;
}

bool kr_remark_has_slices(void)
{
	return READ_ONCE(rm.next) < smp_load_acquire(&rm.end);
}

static void written_in_heap(void *arg, const char *lo, const char *hi)
{
	__atomic_fetch_add(&rm.bytes, kr_mark_again(arg, lo, hi),
			   __ATOMIC_RELAXED);
}

/* While the program runs, what was found written is watched again. */
static void look_at(struct kr_marker *mk, size_t lo, size_t hi)
{
	const char *from = kr_heap.base + lo, *to = kr_heap.base + hi;

	if (unlikely(READ_ONCE(rm.blind)) ||
	    unlikely(kr_dirty_each(from, to, !rm.stopped, written_in_heap, mk)))
		written_in_heap(mk, from, to);
}

bool kr_remark_slice(struct kr_marker *mk)
{
	size_t bytes = READ_ONCE(rm.slice_bytes), end, lo, hi, all;

	if (!kr_remark_has_slices())
		return false;
	lo = __atomic_fetch_add(&rm.next, bytes, __ATOMIC_ACQ_REL);
	all = smp_load_acquire(&rm.end);
	if (lo >= all)
		return false;
	end = all - lo < bytes ? all : lo + bytes;
	if (rm.stopped)
		look_at(mk, lo, end);
	else
		for (; next_run(&lo, &hi, end); lo = hi)
			look_at(mk, lo, hi);
	return true;
}

uint64_t kr_remark_bytes(void)
{
	return READ_ONCE(rm.bytes);
}

void kr_remark_all_if_blind(struct kr_marker *mk)
{
	if (likely(kr_dirty_intact()))
		return;
	WRITE_ONCE(rm.blind, true);
	round_begin(true);
	while (kr_remark_slice(mk))
		;
}
