/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Weak pointers.
 *
 * DOC: A weak pointer is the number of a slot and how often the slot has been
 * used, so that one that was dropped is told from its successor. Equal pointers
 * share a slot. The slot has the address in memory that the collector does not
 * look at; a record of the object (special.c) leads back to it.
 *
 * Reading takes no lock. The sweep of the object's span clears the slot before
 * the memory can be another's. Between the end of marking and that sweep the
 * slot may still have the address of an object that will die: so whoever reads
 * has the span swept, and reads again:
 *
 *	read				sweep
 *	(A) address			(C) clear the address
 *	have the span swept, or wait	(D) the span is swept
 *	(B) address, once more
 *
 * No new cycle gets to its end between A and the moment that the reader has the
 * address on its stack: it would have to stop the world, and the reader has
 * preemption off, or is a plain thread that says that it is busy. What is read while a
 * cycle marks is shaded: nothing else may refer to it.
 */
#include <errno.h>

#include "base/bug.h"
#include "gc/shade.h"
#include "gc/special.h"
#include "mem/cache.h"
#include "mem/persist.h"
#include "os/os.h"

#define FIRST_BITS	10		/* of the first table; each has twice */
#define NR_TABLES	22		/* 2^32 slots */
#define SPINS		200
#define NAP_NS		20000ULL

struct slot {
	uintptr_t addr;			/* 0: cleared, or free */
	uint32_t gen;			/* counts its uses, never 0 */
	uint32_t nr_users;		/* weak.lock */
	uint32_t index;
	uint32_t next_free;		/* weak.lock; index plus 1 */
};

static struct {
	uint32_t lock;			/* after the lock of a span */
	uint32_t nr_made;
	uint32_t first_free;
	struct slot *tables[NR_TABLES];
} weak;

static uint64_t id_of(const struct slot *slot)
{
	return (uint64_t)READ_ONCE(slot->gen) << 32 | slot->index;
}

/* Table @t has the slots from 2^(FIRST_BITS + t) - 2^FIRST_BITS on. */
static unsigned int table_of(uint32_t index, uint32_t *ret_at)
{
	uint64_t n = (uint64_t)index + (1U << FIRST_BITS);
	unsigned int bits = 63U - (unsigned int)__builtin_clzll(n);

	*ret_at = (uint32_t)(n - (1ULL << bits));
	return bits - FIRST_BITS;
}

static struct slot *slot_of(uint64_t id)
{
	uint32_t at;
	unsigned int t = table_of((uint32_t)id, &at);
	struct slot *table = t < NR_TABLES ?
			     smp_load_acquire(&weak.tables[t]) : NULL;
	struct slot *slot = table ? &table[at] : NULL;

	return slot && id >> 32 && READ_ONCE(slot->gen) == id >> 32 ? slot :
								      NULL;
}

static struct slot *slot_get(void)
{
	struct slot *slot = NULL, *table;
	unsigned int t;
	uint32_t at;

	kr_lock(&weak.lock);
	if (weak.first_free) {
		t = table_of(weak.first_free - 1, &at);
		slot = &weak.tables[t][at];
		weak.first_free = slot->next_free;
		goto out;
	}
	t = table_of(weak.nr_made, &at);
	if (t >= NR_TABLES)
		goto out;
	table = weak.tables[t];
	if (!table) {
		table = kr_persist_alloc(sizeof(*table) << (FIRST_BITS + t));
		if (!table)
			goto out;
		smp_store_release(&weak.tables[t], table);
	}
	slot = &table[at];
	slot->index = weak.nr_made++;
	WRITE_ONCE(slot->gen, 1);
out:
	if (slot)
		slot->nr_users = 1;
	kr_unlock(&weak.lock);
	return slot;
}

/* weak.lock is held. */
static void slot_put(struct slot *slot)
{
	uint32_t gen = slot->gen + 1;

	WRITE_ONCE(slot->addr, 0);
	smp_store_release(&slot->gen, gen ? gen : 1);
	slot->next_free = weak.first_free;
	weak.first_free = slot->index + 1;
}

void kr_weak_clear(void *arg)
{
	struct slot *slot = arg;

	smp_store_release(&slot->addr, 0);				/* (C) */
}

uint64_t kr_weak_make(const void *ptr)
{
	struct slot *slot = NULL;
	struct kr_special *sp;
	struct kr_span *s;
	uint32_t index;
	uintptr_t obj;
	uint64_t id;

	if (!kr_special_lock(ptr, &s, &index))
		return 0;
	obj = (uintptr_t)kr_obj_base(s, index);
	for (sp = kr_special_first(s, obj); sp; sp = kr_special_next(sp)) {
		slot = sp->arg;
		if (sp->kind == KR_SPECIAL_WEAK &&
		    READ_ONCE(slot->addr) == (uintptr_t)ptr)
			break;
		slot = NULL;
	}
	if (slot) {
		kr_lock(&weak.lock);
		slot->nr_users++;
		kr_unlock(&weak.lock);
		goto out;
	}
	slot = slot_get();
	sp = slot ? kr_special_add(s, obj, KR_SPECIAL_WEAK) : NULL;
	if (sp) {
		sp->arg = slot;
		smp_store_release(&slot->addr, (uintptr_t)ptr);
	} else if (slot) {
		kr_lock(&weak.lock);
		slot_put(slot);
		kr_unlock(&weak.lock);
		slot = NULL;
	}
out:
	id = slot ? id_of(slot) : 0;
	kr_special_unlock(s);
	return id;
}

/* Somebody else is at it, and may have to wait for a CPU. */
static void have_swept(struct kr_span *s)
{
	kr_heap_sweep_span(s);
	for (int i = 0; smp_load_acquire(&s->sweepgen) !=	/* with (D) */
			READ_ONCE(kr_heap.sweepgen); i++) {
		if (i < SPINS)
			cpu_relax();
		else
			kr_clock_sleep_ns(NAP_NS);
	}
}

void *kr_weak_get(uint64_t id)
{
	struct slot *slot = slot_of(id);
	uintptr_t addr = slot ? smp_load_acquire(&slot->addr) : 0; /* (A) */
	struct kr_span *s = addr ? kr_span_of((const void *)addr) : NULL;

	if (!s)
		return NULL;
	if (unlikely(smp_load_acquire(&s->sweepgen) !=
		     READ_ONCE(kr_heap.sweepgen)))
		have_swept(s);
	if (smp_load_acquire(&slot->addr) != addr ||		/* (B) */
	    slot_of(id) != slot)
		return NULL;
	kr_gc_shade((const void *)addr);
	return (void *)addr;
}

static bool drop(struct slot *slot, uint64_t id, bool *ret_last)
{
	bool valid;

	kr_lock(&weak.lock);
	valid = slot_of(id) == slot;
	*ret_last = valid && !--slot->nr_users;
	if (*ret_last)
		slot_put(slot);
	kr_unlock(&weak.lock);
	return valid;
}

static void forget(struct kr_span *s, uintptr_t obj, const struct slot *slot)
{
	struct kr_special *sp = kr_special_first(s, obj);

	while (sp && !(sp->kind == KR_SPECIAL_WEAK && sp->arg == slot))
		sp = kr_special_next(sp);
	KR_ASSERT(sp);
	kr_special_del(s, sp);
}

int kr_weak_drop(uint64_t id)
{
	struct slot *slot = slot_of(id);
	struct kr_span *s = NULL;
	uint32_t index = 0;
	uintptr_t addr;
	bool last, valid;

	if (!slot)
		return -EINVAL;
	/*
	 * The record keeps the slot from being used by others, and the lock
	 * keeps the sweep from clearing it meanwhile.
	 */
	addr = (uintptr_t)kr_weak_get(id);
	if (addr && kr_special_lock((const void *)addr, &s, &index) &&
	    READ_ONCE(slot->addr) != addr) {
		kr_special_unlock(s);
		s = NULL;		/* it has died meanwhile */
	}
	valid = drop(slot, id, &last);
	if (valid && last && s)
		forget(s, (uintptr_t)kr_obj_base(s, index), slot);
	if (s)
		kr_special_unlock(s);
	return valid ? 0 : -EINVAL;
}
