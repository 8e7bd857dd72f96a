/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Sysmon: the fallback's watchdog thread.
 *
 * DOC: With the module it sleeps until that goes. Without, it looks at all Ps
 * every 20 us, after a while without events every 10 ms (Go's numbers,
 * runtime/proc.go) or once a slice if that is shorter, and not at all while
 * every P is idle.
 * For each P that has somebody waiting it asks about the M that carries it:
 *
 *	- Has its CPU clock stood still since the last look, and does
 *	  /proc/self/task say S or D? Then it sleeps in the kernel: take the P.
 *	- Has it run the same goroutine for a whole slice, and does its CPU
 *	  clock move? Then signal it. (A due timer waits for a short slice
 *	  only: while all Ps are busy sysmon wakes in time for the next one,
 *	  or timers behind hogs would be late by half a slice, as Go's.) A
 *	  thread whose clock stands still is never signalled: a signal that
 *	  hits a sleeping system call is what makes programs see EINTR. (A
 *	  thread may fall asleep between the look and the signal; the module
 *	  has no such window.)
 * Who may not read /proc has to do with the clocks alone.
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
 *
 * Whoever stops the world probes in the same way (stw.c): probe_lock keeps the
 * two apart, for what one saw says nothing about a word that the other made.
 *
 * B is an acquire and pairs with the release in kr_exit(): the M's last work on
 * the P comes before the CAS to SLEEPING, and so before whoever takes the P.
 */
#include <signal.h>

#include "sched/assist_signal.h"
#include "sched/attach.h"
#include "sched/sched.h"

#define DELAY_MIN_NS		20000ULL
#define DELAY_MAX_NS		10000000ULL
#define TIMER_SLICE_NS		200000ULL
#define TIMER_DELAY_NS		100000ULL
#define ROUNDS_BEFORE_BACKOFF	50
#define LOST_SCAN_NS		10000000ULL
/* While modules are exchanged nobody is to be held up by what signals cost. */
#define BETWEEN_SLICE_NS	1000000ULL
#define SLICE_MIN_NS		50000ULL
#define SLICE_MAX_NS		1000000000ULL
#define SYSMON_STACK		(64UL << 10)

#define ATTACH_LOOK_NS		100000000ULL

enum asleep {
	AWAKE,
	UNTIL_BUSY,		/* all Ps are idle */
	UNTIL_NO_MODULE,
};

static struct {
	pthread_t thread;
	uint32_t asleep;	/* futex: what it waits for, enum asleep */
	bool stop;
	bool can_retake;
	uint64_t lost_scan_ns;
	uint64_t attach_look_ns;
} sysmon;

static uint64_t slice_ns(void)
{
	uint64_t ns = READ_ONCE(sched.hdr->slice_ns);

	if (!ns)
		return kr_attach_is_between() ? BETWEEN_SLICE_NS :
		       kr_assist_signal.default_slice_ns;
	return ns < SLICE_MIN_NS ? SLICE_MIN_NS :
	       ns > SLICE_MAX_NS ? SLICE_MAX_NS : ns;
}

/* Find an M for a P that is SLEEPING. */
static bool start_sleeping(struct p *pp, uint64_t asleep)
{
	int err = sched.assist->start(pp, asleep);

	if (!err)
		kr_count_handoff();
	else if (err == -EAGAIN)
		sched.assist->service_poke();
	return !err;
}

static bool timer_is_due(const struct p *pp, uint64_t now)
{
	uint64_t timer = READ_ONCE(pp->slot->timer_ns);

	return timer && timer <= now;
}

static bool retake(struct p *pp, struct m *mp, uint64_t owner)
{
	uint64_t probe = kr_owner_in(owner, KAUS_P_STOPPED);
	uint64_t asleep = kr_owner_in(owner, KAUS_P_SLEEPING);

	bool taken = false;

	if (READ_ONCE(mp->slot->defer) || !kr_trylock(&sched.probe_lock))
		return false;
	if (!kr_cas(&pp->slot->owner, owner, probe))		/* (A) */
		goto out;
	if (kr_membarrier() || smp_load_acquire(&mp->slot->defer)) /* (B) */
		kr_cas(&pp->slot->owner, probe, owner);
	else
		taken = kr_cas(&pp->slot->owner, probe, asleep);
out:
	kr_unlock(&sched.probe_lock);
	if (!taken)
		return false;
	kr_or(&sched.hdr->sleeping[pp->id / 64], 1ULL << (pp->id % 64));
	start_sleeping(pp, asleep);
	return true;
}

/*
 * A thread whose clock stands still. Where /proc cannot be read, for want of a
 * descriptor for instance, the clock must do: a P taken from one that waits
 * for a CPU is no harm but to the number of threads that compute.
 */
static bool is_asleep(int tid)
{
	char state = kr_thread_state(tid);

	return state == 'S' || state == 'D' || !state;
}

/* One whose clock moves. The signal may hit a system call without /proc. */
static bool is_running(int tid)
{
	char state = kr_thread_state(tid);

	return state == 'R' || !state;
}

/* A P whose M runs, or so its word says. True if something was done. */
static bool look_at_running(struct p *pp, uint64_t owner, uint64_t now)
{
	uint32_t id = KAUS_OWNER_WORKER(owner);
	uint32_t tick = READ_ONCE(pp->slot->sched_tick);
	uint64_t cpu_ns, slice;
	struct m *mp;
	int tid;

	/* nr_ms is released after allm[], tid after what the thread set up. */
	if (id >= smp_load_acquire(&sched.nr_ms))
		return false;
	mp = sched.allm[id];
	tid = smp_load_acquire(&mp->tid);
	if (!tid ||
	    kr_clock_thread_cpu_ns(tid, &cpu_ns))
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
		return sysmon.can_retake && is_asleep(tid) &&
		       retake(pp, mp, owner);
	}
	pp->seen_cpu_ns = cpu_ns;
	/* The last look before a signal: a sleeper must not get it. */
	slice = slice_ns();
	if (timer_is_due(pp, now) && slice > TIMER_SLICE_NS)
		slice = TIMER_SLICE_NS;
	if (now - pp->seen_ns < slice || !is_running(tid))
		return false;
	pp->seen_ns = now;
	kr_thread_kill(tid, KR_PREEMPT_SIGNAL);
	return true;
}

/* Ms that came back from the kernel without a P and compute on. */
static void look_for_lost(uint64_t now)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	if (now - sysmon.lost_scan_ns < LOST_SCAN_NS)
		return;
	sysmon.lost_scan_ns = now;
	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];
		struct p *pp = READ_ONCE(mp->p);
		int tid = smp_load_acquire(&mp->tid);
		uint64_t cpu_ns;

		if (!tid || !READ_ONCE(mp->curg) || !pp ||
		    READ_ONCE(mp->slot->defer) ||
		    kr_owner(pp) == READ_ONCE(mp->owner))
			continue;
		if (kr_clock_thread_cpu_ns(tid, &cpu_ns))
			continue;
		/* It has run since, but may be asleep again. */
		if (mp->seen_cpu_ns && cpu_ns != mp->seen_cpu_ns &&
		    is_running(tid))
			kr_thread_kill(tid, KR_PREEMPT_SIGNAL);
		mp->seen_cpu_ns = cpu_ns;
	}
}

static bool look_at_all(void)
{
	uint64_t now = kr_clock_now_ns();
	bool did = false;

	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
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
	WRITE_ONCE(sysmon.asleep, UNTIL_BUSY);
	smp_mb();	/* pairs with the locked nr_idle-- in kr_idle_get() */
	while (READ_ONCE(sysmon.asleep) && !READ_ONCE(sysmon.stop) &&
	       READ_ONCE(sched.nr_idle) == kr_nr_procs())
		kr_futex_wait(&sysmon.asleep, UNTIL_BUSY, UINT64_MAX);
	WRITE_ONCE(sysmon.asleep, AWAKE);
}

/*
 * The module does it all, but for Ms that it does not know yet (attach.c). When
 * main has ended there is still the device to be given back.
 */
static void wait_for_no_module(void)
{
	while (kr_has_module(kr_epoch())) {
		bool partial = !READ_ONCE(sysmon.stop) && kr_attach_is_partial();
		uint64_t until = UINT64_MAX;

		if (partial) {
			if (READ_ONCE(sched.nr_idle) == kr_nr_procs())
				wait_for_busy();
			until = kr_clock_now_ns() + LOST_SCAN_NS;
		}
		WRITE_ONCE(sysmon.asleep, UNTIL_NO_MODULE);
		smp_mb();	/* pairs with the locked change of the epoch */
		if (kr_has_module(kr_epoch()))
			kr_futex_wait(&sysmon.asleep, UNTIL_NO_MODULE, until);
		WRITE_ONCE(sysmon.asleep, AWAKE);
		if (partial)
			look_for_lost(kr_clock_now_ns());
	}
}

static void look_for_module(void)
{
	uint64_t now = kr_clock_now_ns();

	if (now - sysmon.attach_look_ns < ATTACH_LOOK_NS)
		return;
	sysmon.attach_look_ns = now;
	kr_attach_look();
}

/*
 * Until the next look. Where a P is idle some M keeps time (idle.c). A timer
 * that is long overdue is one whose P does not give way: no reason to hurry.
 */
static uint64_t cut_delay(uint64_t delay_ns)
{
	uint64_t now, next;

	if (READ_ONCE(sched.nr_idle))
		return delay_ns;
	next = kr_timers_next();
	if (next == UINT64_MAX)
		return delay_ns;
	now = kr_clock_now_ns();
	if (next + DELAY_MAX_NS < now || next >= now + delay_ns)
		return delay_ns;
	next = next > now ? next - now : TIMER_DELAY_NS;
	next = next > DELAY_MIN_NS ? next : DELAY_MIN_NS;
	return next < delay_ns ? next : delay_ns;
}

/* Who looks less often than once a slice sees nobody for a whole one. */
static uint64_t longer_delay(uint64_t delay_ns)
{
	uint64_t max_ns = slice_ns();

	if (max_ns > DELAY_MAX_NS)
		max_ns = DELAY_MAX_NS;
	return 2 * delay_ns < max_ns ? 2 * delay_ns : max_ns;
}

static void *sysmon_main(void *arg)
{
	uint64_t delay_ns = DELAY_MIN_NS;
	unsigned int quiet = 0;

	(void)arg;
	for (;;) {
		if (kr_has_module(kr_epoch())) {
			wait_for_no_module();
			delay_ns = DELAY_MIN_NS;
			quiet = 0;
		}
		kr_attach_let_go();
		if (READ_ONCE(sysmon.stop))
			break;
		if (READ_ONCE(sched.nr_idle) == kr_nr_procs()) {
			wait_for_busy();
			delay_ns = DELAY_MIN_NS;
			quiet = 0;
		}
		kr_clock_sleep_ns(cut_delay(delay_ns));
		if (look_at_all()) {
			delay_ns = DELAY_MIN_NS;
			quiet = 0;
		} else if (++quiet > ROUNDS_BEFORE_BACKOFF) {
			delay_ns = longer_delay(delay_ns);
		}
		look_for_module();
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
	kr_sysmon_wake();
}

void kr_sysmon_wake(void)
{
	WRITE_ONCE(sysmon.asleep, AWAKE);
	kr_futex_wake(&sysmon.asleep, 1);
}

void kr_sysmon_busy(void)
{
	if (READ_ONCE(sysmon.asleep) == UNTIL_BUSY)
		kr_sysmon_wake();
}
