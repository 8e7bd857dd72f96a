/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The global pool of goroutine objects. */
#ifndef KR_SCHED_GPOOL_H
#define KR_SCHED_GPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "base/compiler.h"
#include "sched/g.h"

struct p;

#define GFREE_MAX	64	/* dead Gs a P keeps; half goes when it is full */
#define GFREE_BATCH	(GFREE_MAX / 2)

#define G_SLAB_BYTES	(64UL << 10)
#define G_SLAB_GS	((G_SLAB_BYTES - 2 * KR_CACHE_PAIR) / sizeof(struct g))

struct g_slab {
	struct cds_list_head node;	/* in a list of the pool */
	struct cds_list_head all_node;	/* the registry, sched/rcu.c */
	struct g *free;			/* dead ones, by next */
	uint32_t nr_free;
	uint32_t nr_made;		/* of gs; less only when it is trimmed */
	struct g gs[] KR_PAIR_ALIGNED;
};

/**
 * kr_gpool_get() - Get a G without a stack.
 * @pp: The caller's P, whose own list is empty and is filled; or NULL.
 *
 * Context: preemption off or a plain thread. Return: NULL without memory.
 */
struct g *kr_gpool_get(struct p *pp);
/* Dead Gs of a P go to the pool until @nr_left are left. */
void kr_gpool_put(struct p *pp, uint32_t nr_left);
void kr_gpool_put_one(struct g *gp);

/* Before so many Ps exist: each caches stacks. Return: 0 or -ENOMEM. */
int kr_gpool_set_ps(uint32_t nr_ps);

/* There is memory of dead Gs to give back. A hint. */
bool kr_gpool_is_idle(void);
/* Give it back. Context: a plain thread. */
void kr_gpool_trim(void);

#endif /* KR_SCHED_GPOOL_H */
