/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Birth, reuse and registry of goroutine objects. */
#include <string.h>

#include "mem/persist.h"
#include "sched/sched.h"

#define GFREE_MAX	64	/* dead Gs a P keeps; half goes when it is full */
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

static struct g *gfree_get_global(void)
{
	struct g *gp;

	if (!READ_ONCE(sched.gfree))
		return NULL;
	kr_lock(&sched.lock);
	gp = sched.gfree;
	if (gp)
		WRITE_ONCE(sched.gfree, gp->next);
	kr_unlock(&sched.lock);
	return gp;
}

struct g *kr_g_alloc(struct m *mp)
{
	struct g *gp;

	if (mp && mp->p->gfree) {
		gp = mp->p->gfree;
		mp->p->gfree = gp->next;
		mp->p->nr_gfree--;
		return gp;
	}
	gp = gfree_get_global();
	if (gp)
		return gp;
	gp = kr_persist_alloc(sizeof(*gp));
	if (!gp)
		return NULL;
	if (kr_stack_alloc(&gp->stack)) {
		/* Lost, one cache-line pair at a time, in a process that is
		 * out of address space.
		 */
		return NULL;
	}
#if KR_TSAN
	gp->ctx.fiber = __tsan_create_fiber(0);
#endif
	kr_registry_add(gp);
	return gp;
}

void kr_g_free(struct m *mp, struct g *gp)
{
	struct p *pp = mp->p;

	WRITE_ONCE(gp->state, G_DEAD);
	pp->nr_gs--;
	gp->next = pp->gfree;
	pp->gfree = gp;
	if (++pp->nr_gfree < GFREE_MAX)
		return;
	kr_lock(&sched.lock);
	while (pp->nr_gfree > GFREE_MAX / 2) {
		gp = pp->gfree;
		pp->gfree = gp->next;
		pp->nr_gfree--;
		gp->next = sched.gfree;
		WRITE_ONCE(sched.gfree, gp);
	}
	kr_unlock(&sched.lock);
}

void kr_g_start(struct m *mp, struct g *gp)
{
	gp->goid = kr_goid_next(mp);
	gp->saved_errno = 0;
	gp->wait_reason = NULL;
	kr_context_init(&gp->ctx, gp->stack.lo, gp->stack.hi, gp);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	if (mp) {
		mp->p->nr_gs++;
		kr_runq_put(mp, gp, true);
	} else {
		kr_add(&sched.nr_gs_outside, 1);
		kr_globq_put(gp);
	}
	kr_wakep();
}
