/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Counters and the list of goroutines. Only reads. */
#include <errno.h>
#include <kaus/stat.h>
#include <stdio.h>

#include "gc/enter.h"
#include "gc/gc.h"
#include "sched/sched.h"

KR_API int kaus_stats_read(struct kaus_stats *st)
{
	struct kaus_stats sum = { .size = sizeof(sum) };
	uint32_t nr_ms = smp_load_acquire(&sched.nr_ms);
	struct kr_stack_stats stacks;
	int64_t nr_gs;

	if (st->size != sizeof(*st))
		return -EINVAL;
	if (!nr_ms)
		return -EPERM;
	sum.nr_procs = kr_nr_procs();
	sum.nr_idle_procs = READ_ONCE(sched.nr_idle);
	sum.nr_threads = READ_ONCE(sched.nr_live_ms);
	sum.nr_runnable = READ_ONCE(sched.hdr->nr_global);
	nr_gs = (int64_t)READ_ONCE(sched.nr_gs_outside);
	sum.nr_handoffs = READ_ONCE(sched.nr_handoffs);
	for (uint32_t i = 0; i < kr_nr_ps(); i++) {
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
		sum.nr_light_preempts += READ_ONCE(pp->nr_light_preempts);
		sum.nr_redirects += READ_ONCE(pp->nr_redirects);
		sum.nr_steals += READ_ONCE(pp->nr_steals);
		sum.nr_timers += READ_ONCE(pp->timers.nr);
		sum.nr_stack_hits += READ_ONCE(pp->stacks.nr_hits);
		sum.nr_stack_misses += READ_ONCE(pp->stacks.nr_misses);
	}
	for (uint32_t i = 0; i < nr_ms; i++) {
		struct m *mp = sched.allm[i];

		sum.nr_lost += READ_ONCE(mp->nr_lost);
		sum.nr_handoffs += READ_ONCE(mp->slot->nr_handoffs);
	}
	kr_stack_stats_read(&stacks);
	sum.nr_stacks = stacks.nr_made;
	sum.nr_pooled_stacks = stacks.nr_hot;
	sum.nr_trimmed_stacks = stacks.nr_trimmed;
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
	const char *reason = state == G_WAITING ? READ_ONCE(gp->wait_reason) :
						  NULL;
	struct m *lockedm = READ_ONCE(gp->lockedm);
	char line[256], m_name[32] = "-", name[KR_NAME_BYTES];
	int len;

	if (state == G_IDLE || state == G_DEAD)
		return 0;
	kr_g_name(gp, name);
	if (lockedm)
		snprintf(m_name, sizeof(m_name), "%u", lockedm->id);
	len = snprintf(line, sizeof(line),
		       "goroutine %llu%s%s%s: %s%s%s, m %s, stack %p-%p\n",
		       (unsigned long long)READ_ONCE(gp->goid),
		       name[0] ? " \"" : "", name, name[0] ? "\"" : "",
		       state_name(gp, state),
		       reason ? ", " : "", reason ? reason : "", m_name,
		       (void *)READ_ONCE(gp->stack.lo),
		       (void *)READ_ONCE(gp->stack.hi));
	return kr_file_write_all(*(int *)arg, line, (size_t)len);
}

static unsigned long long kib(uint64_t bytes)
{
	return bytes >> 10;
}

static int dump_heap(int fd)
{
	struct kaus_gc_pacer pacer;
	struct kr_page_stats pages;
	struct kaus_gc_stats st = { .size = sizeof(st) };
	char line[640], limit[40] = "none";
	struct m *mp = kr_enter();
	int len;

	kr_gc_read_stats(&st);
	kr_gc_read_pacer(&pacer);
	kr_exit_any(mp);
	kr_pages_read_stats(&pages);
	if (pacer.limit_bytes != UINT64_MAX)
		snprintf(limit, sizeof(limit), "%llu KiB%s",
			 kib(pacer.limit_bytes),
			 pacer.limiting ? " (ignored)" : "");
	len = snprintf(line, sizeof(line),
		       "heap: live %llu KiB, marked %llu KiB, goal %llu KiB, limit %s, cycles %llu, pages %llu KiB, free %llu KiB, resident of these %llu KiB, to finalize %llu, waits for its lock %llu (%llu us), for its lists %llu\n",
		       kib(st.heap_live_bytes), kib(st.heap_marked_bytes),
		       kib(pacer.goal_bytes), limit,
		       (unsigned long long)st.nr_cycles,
		       kib(pages.committed_pages << KR_HPAGE_SHIFT),
		       kib(pages.free_pages << KR_HPAGE_SHIFT),
		       kib(pages.returnable_pages << KR_HPAGE_SHIFT),
		       (unsigned long long)st.nr_finalizers_waiting,
		       (unsigned long long)st.nr_heap_lock_waits,
		       (unsigned long long)st.heap_lock_wait_ns / 1000,
		       (unsigned long long)st.nr_span_list_retries);
	return kr_file_write_all(fd, line, (size_t)len);
}

KR_API int kaus_dump(int fd)
{
	int err;

	if (!smp_load_acquire(&sched.nr_ms))
		return -EPERM;
	err = dump_heap(fd);
	return err ? err : kr_registry_for_each(dump_one, &fd);
}
