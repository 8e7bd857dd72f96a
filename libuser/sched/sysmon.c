/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Sysmon: the fallback's watchdog thread.
 *
 * DOC: It looks at all Ps every 20 us, after a while without events every
 * 10 ms (Go's numbers, runtime/proc.go), and not at all while every P is idle.
 * For each P that has somebody waiting it asks about the M that carries it:
 *
 *	- Has its CPU clock stood still since the last look, and does
 *	  /proc/self/task say S or D? Then it sleeps in the kernel: take the P.
 *	- Has it run the same goroutine for a whole slice, and does its CPU
 *	  clock move? Then signal it. A thread whose clock stands still is never
 *	  signalled: a signal that hits a sleeping system call is what makes
 *	  programs see EINTR. (A thread may fall asleep between the look and
 *	  the signal; the module has no such window.)
 *
 * Taking a P from a thread that may wake at any moment:
 *
 *	sysmon				the M, in kr_enter()
 *	(A) owner := STOPPED		(C) defer := 1
 *	    membarrier()		    compiler barrier
 *	(B) load defer			(D) load owner
 *
 * The membarrier puts a full barrier between C and D when the M runs, so at
 * least one of B and D sees the other side: if defer is set the P is put back,
 * else it becomes SLEEPING, for anybody to take. An M that finds its word
 * STOPPED turns it back itself (kr_owner_cas()), and sysmon's next CAS fails.
 * A state of its own for the probe: SLEEPING would invite others to a P whose
 * holder may have preemption off.
 */
#include <signal.h>

#include "sched/assist_signal.h"
#include "sched/sched.h"

#define DELAY_MIN_NS		20000ULL
#define DELAY_MAX_NS		10000000ULL
#define ROUNDS_BEFORE_BACKOFF	50
#define LOST_SCAN_NS		10000000ULL
#define SLICE_MIN_NS		50000ULL
#define SLICE_MAX_NS		1000000000ULL
#define SYSMON_STACK		(64UL << 10)

static struct {
	pthread_t thread;
	uint32_t asleep;	/* futex: 1 while it waits for a busy P */
	bool stop;
	bool can_retake;
	uint64_t lost_scan_ns;
} sysmon;

static uint64_t slice_ns(void)
{
	uint64_t ns = READ_ONCE(sched.hdr->slice_ns);

	if (!ns)
		return kr_assist_signal.default_slice_ns;
	return ns < SLICE_MIN_NS ? SLICE_MIN_NS :
	       ns > SLICE_MAX_NS ? SLICE_MAX_NS : ns;
}

/* Find an M for a P that is SLEEPING. */
static bool start_sleeping(struct p *pp, uint64_t asleep)
{
	int err = sched.assist->start(pp, asleep);

	if (!err)
		kr_sleeping_taken(pp);
	else if (err == -EAGAIN)
		sched.assist->service_poke();
	return !err;
}

static bool retake(struct p *pp, struct m *mp, uint64_t owner)
{
	uint64_t probe = (owner & ~(uint64_t)0xff) | KAUS_P_STOPPED;
	uint64_t asleep = (owner & ~(uint64_t)0xff) | KAUS_P_SLEEPING;

	if (READ_ONCE(mp->slot->defer) ||
	    !kr_cas(&pp->slot->owner, owner, probe))		/* (A) */
		return false;
	if (kr_membarrier() || READ_ONCE(mp->slot->defer)) {	/* (B) */
		kr_cas(&pp->slot->owner, probe, owner);
		return false;
	}
	if (!kr_cas(&pp->slot->owner, probe, asleep))
		return false;
	kr_or(&sched.hdr->sleeping[pp->id / 64], 1ULL << (pp->id % 64));
	start_sleeping(pp, asleep);
	return true;
}

/* A P whose M runs, or so its word says. True if something was done. */
static bool look_at_running(struct p *pp, uint64_t owner, uint64_t now)
{
	uint32_t id = KAUS_OWNER_WORKER(owner);
	uint32_t tick = READ_ONCE(pp->slot->sched_tick);
	uint64_t cpu_ns;
	struct m *mp;

	if (id >= READ_ONCE(sched.nr_ms))
		return false;
	mp = sched.allm[id];
	if (!READ_ONCE(mp->tid) ||
	    kr_clock_thread_cpu_ns(mp->thread, &cpu_ns))
		return false;
	if (pp->seen_owner != owner || pp->seen_tick != tick) {
		pp->seen_owner = owner;
		pp->seen_tick = tick;
		pp->seen_ns = now;
		pp->seen_cpu_ns = cpu_ns;
		return false;
	}
	if (!kr_p_needs_m(pp)) {
		pp->seen_cpu_ns = cpu_ns;
		return false;
	}
	if (cpu_ns == pp->seen_cpu_ns) {
		char state = kr_thread_state(mp->tid);

		return sysmon.can_retake && (state == 'S' || state == 'D') &&
		       retake(pp, mp, owner);
	}
	pp->seen_cpu_ns = cpu_ns;
	/* The last look before a signal: a sleeper must not get it. */
	if (now - pp->seen_ns < slice_ns() ||
	    kr_thread_state(mp->tid) != 'R')
		return false;
	pp->seen_ns = now;
	kr_thread_kill(mp->tid, KR_PREEMPT_SIGNAL);
	return true;
}

/* Ms that came back from the kernel without a P and compute on. */
static void look_for_lost(uint64_t now)
{
	uint32_t nr = READ_ONCE(sched.nr_ms);

	if (now - sysmon.lost_scan_ns < LOST_SCAN_NS)
		return;
	sysmon.lost_scan_ns = now;
	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];
		struct p *pp = READ_ONCE(mp->p);
		uint64_t cpu_ns;

		if (!READ_ONCE(mp->tid) || !READ_ONCE(mp->curg) || !pp ||
		    READ_ONCE(mp->slot->defer) ||
		    kr_owner(pp) == READ_ONCE(mp->owner))
			continue;
		if (kr_clock_thread_cpu_ns(mp->thread, &cpu_ns))
			continue;
		if (mp->seen_cpu_ns && cpu_ns != mp->seen_cpu_ns)
			kr_thread_kill(mp->tid, KR_PREEMPT_SIGNAL);
		mp->seen_cpu_ns = cpu_ns;
	}
}

static bool look_at_all(void)
{
	uint64_t now = kr_clock_now_ns();
	bool did = false;

	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		struct p *pp = sched.allp[i];
		uint64_t owner = kr_owner(pp);

		switch (KAUS_OWNER_STATE(owner)) {
		case KAUS_P_RUNNING:
			did |= look_at_running(pp, owner, now);
			break;
		case KAUS_P_SLEEPING:
			if (kr_p_needs_m(pp))
				did |= start_sleeping(pp, owner);
			break;
		default:
			break;
		}
	}
	look_for_lost(now);
	return did;
}

/* Every P is idle: wait until one is not. */
static void wait_for_busy(void)
{
	WRITE_ONCE(sysmon.asleep, 1);
	smp_mb();	/* pairs with the locked nr_idle-- in kr_idle_get() */
	while (READ_ONCE(sysmon.asleep) && !READ_ONCE(sysmon.stop) &&
	       READ_ONCE(sched.nr_idle) == sched.nr_procs)
		kr_futex_wait(&sysmon.asleep, 1, UINT64_MAX);
	WRITE_ONCE(sysmon.asleep, 0);
}

static void *sysmon_main(void *arg)
{
	uint64_t delay_ns = DELAY_MIN_NS;
	unsigned int quiet = 0;

	(void)arg;
	while (!READ_ONCE(sysmon.stop)) {
		if (READ_ONCE(sched.nr_idle) == sched.nr_procs) {
			wait_for_busy();
			delay_ns = DELAY_MIN_NS;
			quiet = 0;
		}
		kr_clock_sleep_ns(delay_ns);
		if (look_at_all()) {
			delay_ns = DELAY_MIN_NS;
			quiet = 0;
		} else if (++quiet > ROUNDS_BEFORE_BACKOFF) {
			delay_ns *= 2;
			if (delay_ns > DELAY_MAX_NS)
				delay_ns = DELAY_MAX_NS;
		}
	}
	return NULL;
}

int kr_sysmon_start(void)
{
	sysmon.can_retake = !kr_membarrier_init();
	return kr_thread_create(sysmon_main, NULL, SYSMON_STACK,
				&sysmon.thread);
}

void kr_sysmon_stop(void)
{
	WRITE_ONCE(sysmon.stop, true);
	WRITE_ONCE(sysmon.asleep, 0);
	kr_futex_wake(&sysmon.asleep, 1);
}

void kr_sysmon_busy(void)
{
	if (READ_ONCE(sysmon.asleep)) {
		WRITE_ONCE(sysmon.asleep, 0);
		kr_futex_wake(&sysmon.asleep, 1);
	}
}
