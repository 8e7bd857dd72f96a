/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The number of Ps follows the CPUs that the process may use.
 *
 * DOC: Unless the program or its user has fixed the number, it is that of the
 * CPUs in the mask of the thread that called kaus_run(), which is never bound
 * to one, and no more than the quotas of the control group and those above it
 * allow, rounded up. Both may change at any time: taskset, cpusets, hotplug,
 * cpu.max. Nobody says so, thus somebody has to look.
 *
 * It takes some system calls and it may end in a stop of the Ps, so the spawner
 * does it (service.c), which may wait. It is asked to by an M that finds that a
 * second has passed since the last time. An M looks at the clock when its P
 * goes idle, when a goroutine is preempted, and about every thousandth switch;
 * so no thread wakes up for this alone in a process that is idle, and one whose
 * goroutines compute with nobody waiting, which had no use for another number,
 * is not disturbed.
 *
 * Whether there is a quota is told to the collector: who has used it up is stopped
 * by the kernel for the rest of the period.
 *
 * The memory limit of the control group, memory.max and memory.high, changes in
 * the same way. What to do about it is not decided here (gc/limit.c).
 *
 * Rejected: inotify on cpu.max. It tells only of those who write through the
 * same mount, which from inside of a container nobody does.
 */
#include "sched/follow.h"

#include "sched/resize.h"

#define LOOK_NS		1000000000ULL
#define FIRST_NS	100000000ULL

static uint32_t count(int tid, unsigned int quota)
{
	unsigned int nr = kr_cpus_allowed(tid, NULL, 0);

	if (quota && quota < nr)
		nr = quota;
	if (!nr)
		nr = 1;
	return nr < KAUS_MAX_PROCS ? nr : KAUS_MAX_PROCS;
}

uint32_t kr_follow_count(int tid)
{
	return count(tid, kr_cgroup_cpus());
}

void kr_follow_slow(uint64_t now_ns)
{
	static uint64_t last_ns;
	uint64_t last = READ_ONCE(last_ns);

	/* The first time is at the start: not everything is known by then. */
	if (!last)
		kr_cas(&last_ns, 0, now_ns - LOOK_NS + FIRST_NS);
	else if (now_ns >= last + LOOK_NS && kr_cas(&last_ns, last, now_ns))
		kr_spawner_look();
}

static void look_at_cpus(unsigned int quota)
{
	int tid = sched.allm[0]->tid;
	bool moved = sched.bind && kr_cpus_changed(tid);
	uint32_t nr = count(tid, quota);

	if (nr > sched.max_procs)
		nr = sched.max_procs;
	if (moved || nr != kr_nr_procs())
		kr_resize_follow(nr);
}

/* Whether there is one, and when it is taken from those who have used it up. */
static void look_at_quota(unsigned int quota)
{
	uint64_t period_ns;

	/* Busily, for a tick, until one has been seen: once, but for bad luck. */
	(void)kr_clock_tick_ns(&period_ns);
	if (quota && !period_ns)
		(void)kr_clock_find_tick();
	WRITE_ONCE(sched.quota, quota != 0);
}

void kr_follow_look(void)
{
	unsigned int quota = kr_cgroup_cpus();

	look_at_quota(quota);
	if (READ_ONCE(sched.follow))
		look_at_cpus(quota);
	if (sched.follow_memory)
		sched.follow_memory(kr_cgroup_memory());
	if (sched.gc_look)
		sched.gc_look();
}
