/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Birth and end of goroutines. */
#include "sched/gpool.h"
#include "sched/runq.h"

#define GOID_BATCH	16

uint64_t kr_goid_next(struct m *mp)
{
	struct p *pp;

	if (!mp)
		return kr_add(&sched.next_goid, 1);
	pp = mp->p;
	if (pp->goid_next == pp->goid_end) {
		pp->goid_end = kr_add(&sched.next_goid, GOID_BATCH) + 1;
		pp->goid_next = pp->goid_end - GOID_BATCH;
	}
	return pp->goid_next++;
}

struct g *kr_g_alloc(struct m *mp)
{
	struct p *pp = mp ? mp->p : NULL;
	struct g *gp = pp ? pp->gfree : NULL;

	if (unlikely(!gp))
		return kr_gpool_get(pp);
	pp->gfree = gp->next;
	pp->nr_gfree--;
	return gp;
}

static struct kr_stack_cache *stacks_of(struct m *mp)
{
	return mp ? &mp->p->stacks : NULL;
}

void kr_g_begin(struct m *mp, struct g *gp)
{
	if (!gp->stack.hi && kr_stack_get(stacks_of(mp), kr_stack_default_class,
					  &gp->stack))
		kr_throw("g: fewer stacks than goroutines");
	kr_context_init(&gp->ctx, gp->stack.lo, gp->stack.hi, gp);
}

void kr_g_strip(struct m *mp, struct g *gp)
{
	if (likely(gp->ctx.saved.sp != NULL))
		kr_context_end(&gp->ctx);
	kr_stack_put(stacks_of(mp), &gp->stack);
	WRITE_ONCE(gp->stack.lo, NULL);
	WRITE_ONCE(gp->stack.hi, NULL);
}

static KR_NOINLINE void free_many(struct p *pp)
{
	kr_gpool_put(pp, GFREE_BATCH);
	kr_trim_hint();
}

KR_INLINE void put(struct m *mp, struct g *gp)
{
	struct p *pp;

	if (!mp) {
		kr_gpool_put_one(gp);
		kr_trim_hint();
		return;
	}
	pp = mp->p;
	gp->next = pp->gfree;
	pp->gfree = gp;
	if (unlikely(++pp->nr_gfree == GFREE_MAX))
		free_many(pp);
}

void kr_g_unalloc(struct m *mp, struct g *gp)
{
	put(mp, gp);
}

void kr_g_free(struct m *mp, struct g *gp)
{
	if (gp->stack.hi)
		kr_g_strip(mp, gp);
	WRITE_ONCE(gp->state, G_DEAD);
	if (mp)
		ADD_ONCE(mp->p->nr_gs, -1);
	else
		kr_sub(&sched.nr_gs_outside, 1);
	put(mp, gp);
}

void kr_gfree_flush(struct p *pp)
{
	kr_gpool_put(pp, 0);
	kr_stack_cache_flush(&pp->stacks);
	kr_trim_hint();
}

void kr_g_prepare(struct m *mp, struct g *gp)
{
	WRITE_ONCE(gp->goid, kr_goid_next(mp));
	gp->saved_errno = 0;
	WRITE_ONCE(gp->nopreempt, 0);
	gp->blocking = false;
	if (gp->named) {
		gp->named = false;
		WRITE_ONCE(gp->name[0], 0);
	}
	WRITE_ONCE(gp->ctx.saved.sp, NULL);
	/* Release: for kr_scan_g(). */
	smp_store_release(&gp->state, G_RUNNABLE);
	if (mp)
		ADD_ONCE(mp->p->nr_gs, 1);
	else
		kr_add(&sched.nr_gs_outside, 1);
}

void kr_g_start(struct m *mp, struct g *gp)
{
	kr_g_prepare(mp, gp);
	kr_submit(mp, gp);
}
