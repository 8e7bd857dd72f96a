/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The barrier of stores.
 *
 * DOC: While a cycle marks beside the program, each store that overwrites a
 * reference in an object tells what was there (T. Yuasa, "Real-time garbage
 * collection on general-purpose machines", J. Syst. Softw. 11, 1990). With all
 * roots looked at as they were in the stop that begins the cycle, what was
 * reachable then is marked in the end, whatever the program does; what is made
 * later is marked from birth. So a store need not tell what it writes, and roots
 * need no barrier, but for stacks of others: doc/design/gc.md has the argument.
 *
 * A goroutine can be stopped between any two instructions, also for a stop that
 * begins or ends a cycle. So the order in kaus_gc_store() matters:
 *
 *	(A) old = *slot
 *	(B) *slot = value
 *	(C) is the barrier on?		(D) tell old
 *
 *	begins before B		the slot has old when roots are looked at; C
 *				sees the barrier on
 *	begins between B and C	old is in a register or on the stack, which are
 *				looked at as roots
 *	begins after C		the slot has lost old before the cycle
 *	ends between B and D	those that were stopped in mid code are looked at
 *				again before a cycle ends (kr_scan_stopped())
 *
 * What is told goes to a buffer of the M by way of asm/barrier.S, which is no call
 * and takes no lock: a goroutine that is preempted there begins it anew. Who does
 * not store in line, or is no goroutine, uses one of the P. Both are looked at
 * when they are full, when their P or M marks, and by the one that ends the cycle.
 * Threads without a P have one buffer in common, under the lock of their heap
 * cache, which whoever stops the world holds: no thread is suspended in the midst.
 *
 * Rejected: asking for the flag first, as Go does. It must then not be preempted
 * up to the store, which for code in line in programs would need a table of all
 * such places. And a barrier for what is written (Dijkstra's, or Go's hybrid): it
 * is for goroutines that run although they were not looked at.
 */
#include <string.h>

#include "arch/xsave.h"
#include "base/bug.h"
#include "gc/check.h"
#include "gc/shade.h"
#include "gc/state.h"
#include "mem/cache.h"
#include "mem/heap.h"
#include "mem/persist.h"
#include "sched/sched.h"

/* Copied with preemption off. */
#define CHUNK_BYTES	KR_SIZE(4UL << 10, 64UL)

KR_API uint32_t kaus_gc_barrier_on;

static struct kr_gc_p *outside;		/* of all without a P */

/* For asm/barrier.S: may it use the buffer of the M; how to save registers. */
extern uint32_t kr_gc_tells, kr_gc_xsave_kind, kr_gc_xsave_bytes;
uint32_t kr_gc_tells, kr_gc_xsave_kind, kr_gc_xsave_bytes;

void kr_gc_tell_slow(const void *slot, const void *old);

#define XSAVE_LEAST	576U	/* what the assembly writes */

void kr_gc_barrier_init(void)
{
	kr_gc_xsave_kind = kr_xsave_probe(&kr_gc_xsave_bytes);
	if (kr_gc_xsave_bytes < XSAVE_LEAST)
		kr_gc_xsave_bytes = XSAVE_LEAST;
}

void kr_gc_barrier_set(bool on)
{
	WRITE_ONCE(kr_gc_tells, on && !kr_gc.check);
	WRITE_ONCE(kaus_gc_barrier_on, on);
}

static struct kr_gc_p *get(struct kr_gc_p **where)
{
	struct kr_gc_p *own = *where;

	if (likely(own != NULL))
		return own;
	own = kr_persist_alloc(sizeof(*own));
	if (!own)
		kr_throw("gc: no memory to mark with");
	/* Release: the one that stops the world looks at all of them. */
	smp_store_release(where, own);
	return own;
}

struct kr_gc_p *kr_gc_of(struct m *mp)
{
	return get(&mp->p->gc);
}

static bool in_heap(const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)kr_heap.base <
	       (size_t)READ_ONCE(kr_heap.nr_table) << KR_HPAGE_SHIFT;
}

static void look_at_old(struct kr_gc_p *own, struct kr_marker *mk)
{
	kr_mark_range(mk, own->old, own->old + own->nr_old);
	WRITE_ONCE(own->nr_old, 0);
}

static void look_at_told(struct kr_gc_told *told, struct kr_marker *mk)
{
	kr_mark_range(mk, told->old, told->old + told->nr);
	told->nr = 0;
}

static void flush_old(struct kr_gc_p *own)
{
	kr_work_enter();
	look_at_old(own, &own->marker);
	kr_work_leave(&own->marker);
}

static void flush_told(struct m *mp)
{
	struct kr_gc_p *own = kr_gc_of(mp);

	kr_work_enter();
	look_at_told(mp->told, &own->marker);
	kr_work_leave(&own->marker);
}

void kr_gc_flush_old(struct m *mp)
{
	if (kr_gc_of(mp)->nr_old)
		flush_old(mp->p->gc);
	if (mp->told && mp->told->nr)
		flush_told(mp);
}

void kr_gc_for_each_p(void (*fn)(struct kr_gc_p *own))
{
	struct kr_gc_p *own;

	for (uint32_t i = 0; i < kr_nr_ps(); i++) {
		own = smp_load_acquire(&sched.allp[i]->gc);
		if (own)
			fn(own);
	}
	own = smp_load_acquire(&outside);
	if (own)
		fn(own);
	own = kr_back_own();
	if (own)
		fn(own);
}

void kr_gc_flush_all(struct kr_marker *mk)
{
	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		if (sched.allp[i]->gc)
			look_at_old(sched.allp[i]->gc, mk);
	if (outside)
		look_at_old(outside, mk);
	for (uint32_t id = 1; id < smp_load_acquire(&sched.nr_ms); id++) {
		struct kr_gc_told *told = smp_load_acquire(&sched.allm[id]->told);

		if (told)
			look_at_told(told, mk);
	}
}

void kr_gc_forget_all(void)
{
	for (uint32_t id = 1; id < smp_load_acquire(&sched.nr_ms); id++) {
		struct kr_gc_told *told = smp_load_acquire(&sched.allm[id]->told);

		if (told)
			told->nr = 0;
	}
}

/* Preemption off or kr_outside_lock() held, and the cycle marks. */
static void tell_one(struct kr_gc_p *own, const void *old)
{
	own->old[own->nr_old] = (uintptr_t)old;
	WRITE_ONCE(own->nr_old, own->nr_old + 1);
	if (unlikely(own->nr_old == KR_GC_MAX_OLD))
		flush_old(own);
}

/* The same. */
static void tell(struct kr_gc_p *own, const void *slot, const void *old)
{
	if (unlikely(READ_ONCE(kr_gc.check)))
		kr_check_stored(slot);
	if (in_heap(old))
		tell_one(own, old);
}

static void make_told(struct m *mp)
{
	struct kr_gc_told *told = kr_persist_alloc(sizeof(*told));

	if (!told)
		kr_throw("gc: no memory to mark with");
	/* Release: as in get(). */
	smp_store_release(&mp->told, told);
}

/* No cycle begins or ends between the two. NULL: there is no heap. */
static inline struct kr_gc_p *enter(struct m **ret_mp)
{
	struct m *mp = kr_enter();

	*ret_mp = mp;
	if (likely(mp))
		return kr_gc_of(mp);
	return kr_outside_lock() ? get(&outside) : NULL;
}

static inline void leave(struct m *mp)
{
	if (likely(mp))
		kr_exit(mp);
	else
		kr_outside_unlock();
}

KR_INLINE void enter_and_tell(const void *slot, const void *old)
{
	struct kr_gc_p *own;
	struct m *mp;

	own = enter(&mp);
	if (!own)
		return;
	if (READ_ONCE(kr_heap.marking))
		tell(own, slot, old);
	leave(mp);
}

KR_API void kaus_gc_barrier(const void *slot, const void *old)
{
	if (unlikely(READ_ONCE(kr_gc.check))) {
		int nr = kr_check_enter(slot);

		enter_and_tell(slot, old);
		kr_check_leave(nr);
	} else if (in_heap(old)) {
		enter_and_tell(slot, old);
	}
}

/* The fast path cannot: all registers are saved, preemption is on. */
void kr_gc_tell_slow(const void *slot, const void *old)
{
	struct m *mp = READ_ONCE(kr_gc.check) ? NULL : kr_enter();

	if (!mp) {
		kaus_gc_barrier(slot, old);
		return;
	}
	if (READ_ONCE(kr_heap.marking)) {
		if (mp->told)
			flush_told(mp);
		else
			make_told(mp);
		tell(kr_gc_of(mp), slot, old);
	}
	kr_exit(mp);
}

static void tell_range(struct kr_gc_p *own, const void *lo, size_t bytes)
{
	uintptr_t end = ((uintptr_t)lo + bytes + 7) & ~7UL;
	void *const *slot = (void *const *)((uintptr_t)lo & ~7UL);

	for (; (uintptr_t)slot < end; slot++)
		tell(own, slot, READ_ONCE(*slot));
}

void kr_gc_copy(void *to, const void *from, size_t bytes)
{
	struct m *mp = kr_self();
	struct kr_gc_p *own = NULL;
	bool has_p = mp && mp->p && mp->slot->defer;

	/*
	 * Or to the stack of a goroutine that was not looked at. No cycle begins
	 * between this and the copy: it has a P, or the lock.
	 */
	if (has_p) {
		if (in_heap(to) || READ_ONCE(sched.scan_nr))
			own = kr_gc_of(mp);
	} else if (in_heap(to) || READ_ONCE(kr_gc.concurrent) == KR_GC_TOLD) {
		if (kr_outside_lock())
			own = get(&outside);
	}
	if (own && READ_ONCE(kr_heap.marking))
		tell_range(own, to, bytes);
	memcpy(to, from, bytes);
	if (own && !has_p)
		kr_outside_unlock();
}

/*
 * A plain thread may or may not hold the lock of the common buffer, and holds
 * others: it marks right here.
 */
static void shade_now(const void *addr)
{
	struct kr_marker mk = { .block = NULL };

	kr_work_enter();
	kr_mark_word(&mk, (uintptr_t)addr);
	kr_work_leave(&mk);
	kr_gc_count_plain(&mk);
}

void kr_gc_shade(const void *addr)
{
	struct m *mp = kr_self();

	if (!READ_ONCE(kr_heap.marking) || !in_heap(addr))
		return;
	if (mp && mp->p && mp->slot->defer)
		tell_one(kr_gc_of(mp), addr);
	else
		shade_now(addr);
}

static void copy_chunk(char *to, const char *from, size_t bytes)
{
	struct kr_gc_p *own;
	struct m *mp;

	own = enter(&mp);
	if (own && READ_ONCE(kr_heap.marking))
		tell_range(own, to, bytes);
	if (from)
		memmove(to, from, bytes);
	else
		memset(to, 0, bytes);
	if (own)
		leave(mp);
}

/* From the end that is not overwritten before it is read. */
KR_API void *kaus_gc_copy(void *to, const void *from, size_t bytes)
{
	bool down = (uintptr_t)to - (uintptr_t)from < bytes;
	size_t done = 0;

	while (done < bytes) {
		size_t part = bytes - done, at;

		if (part > CHUNK_BYTES)
			part = CHUNK_BYTES;
		at = down ? bytes - done - part : done;
		copy_chunk((char *)to + at, (const char *)from + at, part);
		done += part;
	}
	return to;
}

KR_API void kaus_gc_clear(void *to, size_t bytes)
{
	for (size_t done = 0; done < bytes; done += CHUNK_BYTES)
		copy_chunk((char *)to + done, NULL,
			   bytes - done < CHUNK_BYTES ? bytes - done :
							CHUNK_BYTES);
}
