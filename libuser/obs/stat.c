/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Counters and the list of goroutines. Only reads. */
#include <errno.h>
#include <kaus/stat.h>
#include <stdio.h>

#include "sched/sched.h"

KR_API int kaus_stats_read(struct kaus_stats *st)
{
	struct kaus_stats sum = { .size = sizeof(sum) };
	uint32_t nr_ms = smp_load_acquire(&sched.nr_ms);
	int64_t nr_gs;

	if (st->size != sizeof(*st))
		return -EINVAL;
	if (!nr_ms)
		return -EPERM;
	sum.nr_procs = sched.nr_procs;
	sum.nr_idle_procs = READ_ONCE(sched.nr_idle);
	sum.nr_threads = nr_ms - 1;
	sum.nr_runnable = READ_ONCE(sched.hdr->nr_global);
	nr_gs = (int64_t)READ_ONCE(sched.nr_gs_outside);
	sum.nr_handoffs = READ_ONCE(sched.nr_handoffs);
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		struct p *pp = sched.allp[i];
		struct kaus_proc *s = pp->slot;

		if (KAUS_OWNER_STATE(kr_owner(pp)) == KAUS_P_SLEEPING)
			sum.nr_sleeping_procs++;
		sum.nr_runnable += READ_ONCE(s->runq_tail) -
				   READ_ONCE(s->runq_head);
		sum.nr_runnable += READ_ONCE(s->runnext) != 0;
		nr_gs += READ_ONCE(pp->nr_gs);
		sum.nr_switches += READ_ONCE(pp->nr_switches);
		sum.nr_preempts += READ_ONCE(pp->nr_preempts);
		sum.nr_yield_preempts += READ_ONCE(pp->nr_yield_preempts);
		sum.nr_redirects += READ_ONCE(pp->nr_redirects);
		sum.nr_steals += READ_ONCE(pp->nr_steals);
	}
	for (uint32_t i = 0; i < nr_ms; i++) {
		struct m *mp = sched.allm[i];

		sum.nr_lost += READ_ONCE(mp->nr_lost);
		sum.nr_handoffs += READ_ONCE(mp->slot->nr_handoffs);
	}
	sum.nr_gs = nr_gs > 0 ? (uint64_t)nr_gs : 0;
	sum.assist = sched.assist->name;
	*st = sum;
	return 0;
}

static const char *state_name(const struct g *gp, uint32_t state)
{
	switch (state) {
	case G_RUNNABLE:
		return READ_ONCE(gp->lockedm) ? "preempted" : "runnable";
	case G_RUNNING:
		return "running";
	case G_WAITING:
		return "waiting";
	default:
		return "dead";
	}
}

static int dump_one(struct g *gp, void *arg)
{
	uint32_t state = READ_ONCE(gp->state);
	const char *reason = READ_ONCE(gp->wait_reason);
	struct m *lockedm = READ_ONCE(gp->lockedm);
	char line[256], m_name[32] = "-";
	int len;

	if (state == G_IDLE || state == G_DEAD)
		return 0;
	if (lockedm)
		snprintf(m_name, sizeof(m_name), "%u", lockedm->id);
	len = snprintf(line, sizeof(line),
		       "goroutine %llu: %s%s%s, m %s, stack %p-%p\n",
		       (unsigned long long)gp->goid, state_name(gp, state),
		       reason ? ", " : "", reason ? reason : "", m_name,
		       (void *)gp->stack.lo, (void *)gp->stack.hi);
	return kr_file_write_all(*(int *)arg, line, (size_t)len);
}

KR_API int kaus_dump(int fd)
{
	if (!smp_load_acquire(&sched.nr_ms))
		return -EPERM;
	return kr_registry_for_each(dump_one, &fd);
}
