/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Where goroutine objects come from.
 *
 * DOC: A P keeps a few dead Gs and exchanges half of them with the pool: slabs
 * of G_SLAB_BYTES, aligned to that, so that a G leads to its slab. A slab is
 * never unmapped: a stale pointer, the registry's for instance, always finds a
 * G, though perhaps one with state IDLE. But a slab all of whose Gs are dead and
 * in the pool gives its memory back (kr_gpool_trim()), apart from the first
 * page, and is as good as new then.
 *
 * A G whose entry in the global queue was cancelled may have died and the entry
 * still be linked there; such a slab keeps its memory until the next time.
 *
 * There are as many stacks as Gs and caches of Ps can hold: see mem/stack.c.
 */
#include <urcu/list.h>

#include "mem/persist.h"
#include "mem/stack.h"
#include "sched/gpool.h"
#include "sched/sched.h"

#define CHUNK_SLABS	16	/* mapped at once, and one more to align them */
#define KEEP_SLABS	4	/* whole ones that are not trimmed */

/*
 * Slabs that have Gs to give, in three lists: PARTIAL ones, WHOLE ones, whose
 * Gs are all here, and COLD ones, none of whose Gs exists. Those that have none
 * to give are in no list.
 */
static struct {
	uint32_t lock;
	struct cds_list_head partial, whole, cold;
	uint32_t nr_whole;
	char *fresh;			/* slabs never used */
	uint32_t nr_fresh;
	uint64_t nr_gs;			/* that all slabs have room for */
	uint32_t nr_ps;
} gpool = {
	.partial = CDS_LIST_HEAD_INIT(gpool.partial),
	.whole = CDS_LIST_HEAD_INIT(gpool.whole),
	.cold = CDS_LIST_HEAD_INIT(gpool.cold),
};

static struct g_slab *slab_of(struct g *gp)
{
	return (struct g_slab *)((uintptr_t)gp & ~(G_SLAB_BYTES - 1));
}

/* lock held. */
static bool map_chunk(void)
{
	size_t size = (CHUNK_SLABS + 1) * G_SLAB_BYTES;
	void *base;

	if (kr_vm_map(size, false, &base))
		return false;
	/* Else a few Gs would touch two megabytes. */
	(void)kr_vm_hugepage(base, size, false);
	gpool.fresh = (char *)(((uintptr_t)base + G_SLAB_BYTES - 1) &
			       ~(G_SLAB_BYTES - 1));
	gpool.nr_fresh = CHUNK_SLABS;
	return true;
}

/* lock held. There are stacks for so many, wherever free ones are. */
static int reserve(uint64_t nr_gs, uint32_t nr_ps)
{
	return kr_stack_reserve(nr_gs + (uint64_t)nr_ps * KR_STACK_CACHE_MAX);
}

int kr_gpool_set_ps(uint32_t nr_ps)
{
	int err;

	kr_lock(&gpool.lock);
	err = reserve(gpool.nr_gs, nr_ps);
	if (!err)
		gpool.nr_ps = nr_ps;
	kr_unlock(&gpool.lock);
	return err;
}

/* lock held. */
static bool add_slab(void)
{
	struct g_slab *slab;

	if (reserve(gpool.nr_gs + G_SLAB_GS, gpool.nr_ps) ||
	    (!gpool.nr_fresh && !map_chunk()))
		return false;
	slab = (struct g_slab *)gpool.fresh;
	gpool.fresh += G_SLAB_BYTES;
	gpool.nr_fresh--;
	gpool.nr_gs += G_SLAB_GS;
	cds_list_add(&slab->node, &gpool.cold);
	kr_registry_add(slab);
	return true;
}

static struct g_slab *first_of(struct cds_list_head *list)
{
	return cds_list_entry(list->next, struct g_slab, node);
}

/* lock held. */
static struct g *get_one(void)
{
	struct g_slab *slab;
	struct g *gp;

	if (!cds_list_empty(&gpool.partial)) {
		slab = first_of(&gpool.partial);
	} else if (!cds_list_empty(&gpool.whole)) {
		slab = first_of(&gpool.whole);
		WRITE_ONCE(gpool.nr_whole, gpool.nr_whole - 1);
		cds_list_move(&slab->node, &gpool.partial);
	} else if (!cds_list_empty(&gpool.cold) || add_slab()) {
		slab = first_of(&gpool.cold);
		cds_list_move(&slab->node, &gpool.partial);
	} else {
		return NULL;
	}
	gp = slab->free;
	if (gp) {
		slab->free = gp->next;
		slab->nr_free--;
	} else {
		gp = &slab->gs[slab->nr_made];
		WRITE_ONCE(gp->join, JOIN_NONE);
		/* The registry looks no further. */
		smp_store_release(&slab->nr_made, slab->nr_made + 1);
	}
	if (!slab->free && slab->nr_made == G_SLAB_GS)
		cds_list_del(&slab->node);
	return gp;
}

/* lock held. */
static void put_one(struct g *gp)
{
	struct g_slab *slab = slab_of(gp);

	if (!slab->free && slab->nr_made == G_SLAB_GS)
		cds_list_add(&slab->node, &gpool.partial);
	gp->next = slab->free;
	slab->free = gp;
	if (++slab->nr_free < slab->nr_made)
		return;
	cds_list_move(&slab->node, &gpool.whole);
	WRITE_ONCE(gpool.nr_whole, gpool.nr_whole + 1);
}

struct g *kr_gpool_get(struct p *pp)
{
	struct g *gp, *more;

	kr_lock(&gpool.lock);
	gp = get_one();
	while (gp && pp && pp->nr_gfree < GFREE_BATCH && (more = get_one())) {
		more->next = pp->gfree;
		pp->gfree = more;
		pp->nr_gfree++;
	}
	kr_unlock(&gpool.lock);
	return gp;
}

void kr_gpool_put(struct p *pp, uint32_t nr_left)
{
	struct g *gp;

	kr_lock(&gpool.lock);
	while (pp->nr_gfree > nr_left) {
		gp = pp->gfree;
		pp->gfree = gp->next;
		pp->nr_gfree--;
		put_one(gp);
	}
	kr_unlock(&gpool.lock);
}

void kr_gpool_put_one(struct g *gp)
{
	kr_lock(&gpool.lock);
	put_one(gp);
	kr_unlock(&gpool.lock);
}

bool kr_gpool_is_idle(void)
{
	return READ_ONCE(gpool.nr_whole) > KEEP_SLABS;
}

/* lock held. */
static void trim_slab(struct g_slab *slab)
{
	WRITE_ONCE(gpool.nr_whole, gpool.nr_whole - 1);
	for (uint32_t i = 0; i < slab->nr_made; i++) {
		if (READ_ONCE(slab->gs[i].gq_claim) == GQ_NONE)
			continue;
		cds_list_move(&slab->node, &gpool.partial);
		return;
	}
	WRITE_ONCE(slab->nr_made, 0);
	slab->free = NULL;
	slab->nr_free = 0;
	cds_list_move(&slab->node, &gpool.cold);
	kr_vm_discard((char *)slab + KR_PAGE_SIZE, G_SLAB_BYTES - KR_PAGE_SIZE);
}

void kr_gpool_trim(void)
{
	bool more = true;

	while (more) {
		kr_lock(&gpool.lock);
		more = gpool.nr_whole > KEEP_SLABS;
		/* Those first that became whole first. */
		if (more)
			trim_slab(cds_list_entry(gpool.whole.prev,
						 struct g_slab, node));
		kr_unlock(&gpool.lock);
	}
}
