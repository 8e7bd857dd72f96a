/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Access to the shared region.
 *
 * DOC: The region is user memory that the module has pinned and mapped. The
 * process may write anything to it at any moment, so each field is read once
 * into a local, an index is checked and masked, and no value found there is
 * ever an address. A wrong value hurts its own process only.
 *
 * RMW operations on it are safe: the mapping is ordinary write-back memory and
 * stays while the group does.
 */
#ifndef _KAUS_SHM_H
#define _KAUS_SHM_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/ktime.h>
#include <linux/nospec.h>

#include "group.h"
#include "worker.h"

/* Set event bits. A full barrier, as kaus_preempt_kick() needs. */
static inline void kaus_shm_set_events(struct kaus_m *m, u32 events)
{
	BUILD_BUG_ON(sizeof(m->slot->events) != sizeof(atomic_t));
	smp_mb__before_atomic(); /* with the next: make the RMW a full barrier */
	atomic_or(events, (atomic_t *)&m->slot->events);
	smp_mb__after_atomic(); /* see kaus_preempt_kick() */
}

/* Count in a statistics field that only the worker's own CPU writes. */
static inline void kaus_shm_count(__u64 *counter)
{
	WRITE_ONCE(*counter, READ_ONCE(*counter) + 1);
}

/* The same for a field that any CPU writes. */
static inline void kaus_shm_count_shared(__u64 *counter)
{
	atomic64_inc((atomic64_t *)counter);
}

static inline void kaus_shm_set_sleeping(struct kaus_p *p)
{
	set_bit(p->index, (unsigned long *)p->group->hdr->sleeping);
}

static inline void kaus_shm_clear_sleeping(struct kaus_p *p)
{
	clear_bit(p->index, (unsigned long *)p->group->hdr->sleeping);
}

/* Swap the owner word; *@old is the value found when this fails. */
static inline bool kaus_shm_swap_owner(struct kaus_p *p, u64 *old, u64 new)
{
	return try_cmpxchg(&p->slot->owner, (__u64 *)old, (__u64)new);
}

/* The word of a P that is given to worker @index by whoever saw @word. */
static inline u64 kaus_shm_given(u64 word, u32 index)
{
	return KAUS_OWNER(KAUS_P_RUNNING, index, KAUS_OWNER_GEN(word) + 1);
}

/* The P at @index, which came from user space, or NULL. */
static inline struct kaus_p *kaus_shm_p(struct kaus_group *g, u32 index)
{
	if (index >= g->nr_procs)
		return NULL;
	return &g->ps[array_index_nospec(index, g->nr_procs)];
}

/* The P at @index, with its owner word, if that says that @m runs it. */
static inline struct kaus_p *kaus_shm_owned(const struct kaus_m *m, u32 index,
					    u64 *word)
{
	struct kaus_p *p = kaus_shm_p(m->group, index);

	if (!p)
		return NULL;
	*word = READ_ONCE(p->slot->owner);
	if (KAUS_OWNER_STATE(*word) != KAUS_P_RUNNING ||
	    KAUS_OWNER_WORKER(*word) != m->index)
		return NULL;
	return p;
}

/*
 * The P that @m carries, with its owner word, or NULL. The worker's slot says
 * which it is, and the owner word whether that is true.
 */
static inline struct kaus_p *kaus_shm_carried(const struct kaus_m *m, u64 *word)
{
	return kaus_shm_owned(m, READ_ONCE(m->slot->proc), word);
}

/* Does a goroutine wait in the queue of @p itself? */
static inline bool kaus_shm_has_own(const struct kaus_p *p)
{
	const struct kaus_proc *slot = p->slot;

	return READ_ONCE(slot->runq_tail) != READ_ONCE(slot->runq_head) ||
	       READ_ONCE(slot->runnext);
}

/* Does a goroutine wait in a queue that @p would serve? */
static inline bool kaus_shm_has_queued(const struct kaus_p *p)
{
	return kaus_shm_has_own(p) || READ_ONCE(p->group->hdr->nr_global);
}

/* When the earliest timer of @p is due; U64_MAX without one. */
static inline u64 kaus_shm_timer_ns(const struct kaus_p *p)
{
	u64 t = READ_ONCE(p->slot->timer_ns);

	return t && t < KTIME_MAX ? t : U64_MAX;
}

#endif /* _KAUS_SHM_H */
