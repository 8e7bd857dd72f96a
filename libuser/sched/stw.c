/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Stopping the world.
 *
 * DOC: One thread sets sched.stw and collects the Ps. A P is stopped when its
 * owner word is STOPPED with worker 0: sysmon, which borrows that state for its
 * probes, leaves the holder in the word. There are four ways to get there:
 *
 *	idle, pending	those on the two lists are taken with sched.lock; who
 *			puts one there later finds sched.stw under that lock
 *	SLEEPING	taken by compare-and-swap: the sleeper has lost it
 *	RUNNING, the	seized by a probe as sysmon's: STOPPED, membarrier(),
 *	holder is in	look at defer. sched.probe_lock keeps the two probers
 *	its own code	apart: what one saw says nothing about the other's word
 *	RUNNING, the	given up by the holder: in its loop, in kr_exit_slow(),
 *	holder is in	in the trampoline. An event in its slot sends it there
 *	the runtime
 *
 * So nothing waits for a thread that sleeps in the kernel, nor, if only the Ps
 * are to be stopped, for one that the kernel does not run. When all Ps are
 * stopped nobody can leave the runtime any more: kr_enter() has seen a good owner
 * word, and that P is stopped only by its holder, at places where it does not go
 * on.
 *
 * What is left is code of goroutines whose Ps were taken. kr_stop_ps() lets it
 * be: it will not get further than to its next kr_enter(), where kr_reacquire()
 * finds no P and parks. kr_stop_world() does not probe: it sends all there that
 * do not come by themselves within microseconds, for an interrupt of another CPU
 * may take ten times as long. It waits until each M has preemption off, or
 *	- with the module: sleeps in a system call after KAUS_IOC_KICK, and
 *	  KAUS_IOC_REGS has told what it has in registers. The event is in its
 *	  slot, and it will be redirected before it is back in its code. No
 *	  system call is interrupted.
 *	- without: nothing else. It gets the signal, whether it sleeps or not:
 *	  there is no other way to keep a thread from coming back to its code,
 *	  or to learn its registers. A system call that is never restarted, such
 *	  as nanosleep() or poll(), fails with EINTR.
 *
 * Exceptions, where the stop waits or code of the program goes on:
 *	- A goroutine with preemption disabled delays the stop until it enables
 *	  it or calls the library.
 *	- So does, without the module, a thread that blocks the signal or is in
 *	  an uninterruptible sleep; with it, one that sleeps in a page fault, for
 *	  only it has the vector registers.
 *	- A handler of a signal is not stopped, nor a plain thread. Those may
 *	  put goroutines into the global queue.
 *	- Between kaus_block_begin() and kaus_block_end() the fallback stops a
 *	  thread by another signal (suspend.c), right where it is.
 *
 * A goroutine that was stopped with its P is "locked" to its M (g.lockedm) and
 * in no queue. p.stopped_m remembers the M, and kr_start_world() gives it the P
 * back as if it had taken the goroutine from a queue (g.offer, preempt.c).
 *
 * stw.lock is held from the stop to the start. A goroutine that wants to stop
 * the world while another one does is stopped itself first, or the two would
 * wait for each other's Ps.
 */
#include "sched/stw.h"

#include "sched/attach.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/suspend.h"

#define POLITE_NS	6000ULL
#define SPIN_NS		50000ULL
#define NR_SPINS	16
#define NAP_MIN_NS	20000ULL
#define NAP_MAX_NS	1000000ULL

static struct {
	uint32_t lock;		/* from the stop to the start */
	uint32_t nr_stopped;	/* futex: changes with each that stops */
	uint32_t sleeps;	/* in that futex */
	struct m *by;
	const char *why;
	bool can_seize;
} stw;

void kr_stw_init(void)
{
	stw.can_seize = !kr_membarrier_init();
}

void kr_stw_hold(void)
{
	kr_lock(&stw.lock);
}

void kr_stw_release(void)
{
	kr_unlock(&stw.lock);
}

void kr_stw_forked(void)
{
	if (READ_ONCE(sched.nr_ms))
		return;
	stw.lock = 0;
	sched.lock = 0;
	sched.probe_lock = 0;
	WRITE_ONCE(sched.stw, false);
}

static bool is_stopped(const struct p *pp)
{
	/* Acquire: and what its holder has left in it is seen. */
	uint64_t owner = smp_load_acquire(&pp->slot->owner);

	return KAUS_OWNER_STATE(owner) == KAUS_P_STOPPED &&
	       !KAUS_OWNER_WORKER(owner);
}

void kr_stop_progress(void)
{
	kr_add(&stw.nr_stopped, 1);
	if (READ_ONCE(stw.sleeps))
		kr_futex_wake(&stw.nr_stopped, 1);
}

/* From another state, as whoever may change it. False: it was not @owner. */
static bool set_stopped(struct p *pp, uint64_t owner)
{
	return kr_cas(&pp->slot->owner, owner,
		      KAUS_OWNER(KAUS_P_STOPPED, 0,
				 KAUS_OWNER_GEN(owner) + 1));
}

void kr_stop_idle_locked(struct p *pp)
{
	/* As kr_wakep() would find it: nobody begins as a spinner. */
	if (pp->start_spinning) {
		pp->start_spinning = false;
		kr_sub(&sched.nr_spinning, 1);
	}
	if (!set_stopped(pp, kr_owner(pp)))
		kr_throw("stw: idle P has an owner");
	kr_stop_progress();
}

/* ---- those who are to stop ---- */

void kr_stop_here(struct m *mp)
{
	struct g *gp = mp->curg;
	struct p *pp = mp->p;

	kr_lock(&sched.lock);
	if (!sched.stw || mp == stw.by) {
		kr_unlock(&sched.lock);
		return;
	}
	WRITE_ONCE(gp->state, G_RUNNABLE);
	WRITE_ONCE(gp->lockedm, mp);
	pp->stopped_m = mp;
	kr_p_release(mp, pp);
	kr_stop_idle_locked(pp);
	kr_unlock(&sched.lock);
	kr_wait_locked(mp, gp, NULL);
}

void kr_stop_in_loop(struct m *mp)
{
	struct g *next = mp->nextg;
	struct p *pp = mp->p;

	if (next) {
		mp->nextg = NULL;
		kr_runq_put(mp, next, false);
	}
	kr_lock(&sched.lock);
	if (!sched.stw) {
		kr_unlock(&sched.lock);
		return;
	}
	/* First: it will park, and who starts the world wakes a spinner. */
	if (mp->spinning) {
		mp->spinning = false;
		kr_sub(&sched.nr_spinning, 1);
	}
	kr_p_release(mp, pp);
	kr_stop_idle_locked(pp);
	kr_unlock(&sched.lock);
}

/* ---- the one who stops them ---- */

static struct m *holder(uint64_t owner)
{
	uint32_t id = KAUS_OWNER_WORKER(owner);

	return id < smp_load_acquire(&sched.nr_ms) ? sched.allm[id] : NULL;
}

/* In a goroutine's code, as far as can be seen, and may be stopped there. */
static bool in_code(struct m *mp)
{
	struct g *gp = READ_ONCE(mp->curg);

	return gp && !READ_ONCE(mp->slot->defer);
}

static bool is_unstoppable(struct m *mp)
{
	struct g *gp = READ_ONCE(mp->curg);

	return gp && READ_ONCE(gp->nopreempt);
}

static bool probe(struct p *pp, uint64_t owner)
{
	struct m *mp = holder(owner);

	if (!stw.can_seize || !mp || mp == stw.by || !in_code(mp) ||
	    is_unstoppable(mp) ||
	    !kr_cas(&pp->slot->owner, owner,
		    kr_owner_in(owner, KAUS_P_STOPPED)))
		return false;
	pp->probed = owner;
	return true;
}

/* After the barrier: has the holder entered the runtime before the probe? */
static void probe_end(struct p *pp, bool ok)
{
	uint64_t owner = pp->probed;
	uint64_t word = kr_owner_in(owner, KAUS_P_STOPPED);

	pp->probed = 0;
	if (ok && !smp_load_acquire(&holder(owner)->slot->defer))
		set_stopped(pp, word);
	else
		kr_cas(&pp->slot->owner, word, owner);
}

/* Take what can be had without the holder's help, with @probes from the running. */
static void seize_ps(bool probes)
{
	bool any = false, ok;

	kr_lock(&sched.probe_lock);
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];
		uint64_t owner = kr_owner(pp);

		switch (KAUS_OWNER_STATE(owner)) {
		case KAUS_P_SLEEPING:
			if (set_stopped(pp, owner))
				kr_sleeping_clear(pp);
			break;
		case KAUS_P_RUNNING:
			any |= probes && probe(pp, owner);
			break;
		default:
			break;
		}
	}
	ok = any && !kr_membarrier();
	for (uint32_t i = 0; any && i < kr_nr_procs(); i++)
		if (sched.allp[i]->probed)
			probe_end(sched.allp[i], ok);
	kr_unlock(&sched.probe_lock);
}

/* Those in the runtime stop on their way out. */
static void tell_holders(void)
{
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		uint64_t owner = kr_owner(sched.allp[i]);
		struct m *mp = holder(owner);

		if (KAUS_OWNER_STATE(owner) == KAUS_P_RUNNING && mp &&
		    mp != stw.by)
			kr_or(&mp->slot->events, KAUS_EV_KICK);
	}
}

static bool all_ps_stopped(void)
{
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];

		if (!is_stopped(pp) && !(stw.by && pp == stw.by->p))
			return false;
	}
	return true;
}

/* Call @fn for each M with a thread that is in a goroutine's code. */
static bool for_each_in_code(bool (*fn)(struct m *mp))
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];

		if (mp != stw.by && smp_load_acquire(&mp->tid) &&
		    in_code(mp) && !fn(mp))
			return false;
	}
	return true;
}

static bool kick(struct m *mp)
{
	/* It will look at its events itself. */
	if (is_unstoppable(mp))
		kr_or(&mp->slot->events, KAUS_EV_KICK);
	else
		sched.assist->kick(mp);
	return true;
}

static bool on_its_stack(const struct g *gp, uint64_t sp)
{
	return sp >= (uintptr_t)gp->stack.lo && sp < (uintptr_t)gp->stack.hi;
}

/*
 * It may have come to rest by itself since it was looked at, in
 * kr_wait_locked(), and that note must stay: it outlives the start of the world.
 */
static bool found_at_rest(struct m *mp, uint32_t how)
{
	(void)kr_cas(&mp->at_rest, KR_REST_NONE, how);
	return true;
}

/*
 * Is it known where the references of the M's goroutine are, and will it stay
 * so? One that is in the runtime and has not said so yet is about to.
 */
static bool is_at_rest(struct m *mp)
{
	struct g *gp = READ_ONCE(mp->curg);

	if (!gp || smp_load_acquire(&mp->frame) ||
	    smp_load_acquire(&mp->at_rest))
		return true;
	if (in_code(mp)) {
		if (is_unstoppable(mp) || !sched.assist->is_off(mp) ||
		    !on_its_stack(gp, mp->regs.sp))
			return false;
		return found_at_rest(mp, KR_REST_KERNEL);
	}
	if (READ_ONCE(mp->announced)) {
		kr_suspend_ask(&mp->suspend);
		if (!kr_suspend_is_done(&mp->suspend))
			return false;
		/* It stays what it is now: the thread stands still. */
		if (READ_ONCE(mp->announced))
			return found_at_rest(mp, KR_REST_SUSPENDED);
	}
	/* Or the signal has come, or would, in the midst of the runtime. */
	kr_suspend_end(&mp->suspend);
	return false;
}

/* Nobody is in a goroutine's code, or will be. All Ps are stopped. */
static bool all_at_rest(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);
	bool all = true;

	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];

		if (mp != stw.by && smp_load_acquire(&mp->tid) &&
		    !is_at_rest(mp))
			all = false;
	}
	return all;
}

/* Those that have not said themselves that they are at rest. */
static void wake_sleepers(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];

		if (!kr_cas(&mp->at_rest, KR_REST_KERNEL, KR_REST_NONE))
			kr_cas(&mp->at_rest, KR_REST_SUSPENDED, KR_REST_NONE);
		kr_suspend_end(&mp->suspend);
	}
}

static void set_stw_and_take_lists(struct m *mp, const char *why)
{
	struct p *pp;

	kr_lock(&sched.lock);
	stw.by = mp;
	stw.why = why;
	WRITE_ONCE(sched.stw, true);
	while ((pp = sched.idle_ps)) {
		sched.idle_ps = pp->link;
		kr_sub(&sched.nr_idle, 1);
		kr_stop_idle_locked(pp);
	}
	while ((pp = sched.pending_ps)) {
		WRITE_ONCE(sched.pending_ps, pp->link);
		kr_stop_idle_locked(pp);
	}
	kr_unlock(&sched.lock);
}

static void lock(struct m *mp)
{
	if (!mp) {
		kr_lock(&stw.lock);
		return;
	}
	while (!kr_trylock(&stw.lock)) {
		if (READ_ONCE(sched.stw))
			kr_stop_here(mp);
		else
			kr_clock_sleep_ns(NAP_MIN_NS);
	}
}

/* Main has ended: Ms halt with their Ps. */
static bool give_up(struct m *mp)
{
	wake_sleepers();
	kr_unlock(&stw.lock);
	if (mp)
		kr_m_halt(mp);
	return false;
}

/*
 * Most stop within microseconds, and to sleep and be woken takes a multiple.
 * Return: false if nobody has, or they and this thread may have one CPU.
 */
static bool spin_until_not(uint32_t seen, uint64_t end_ns)
{
	if (kr_nr_procs() < 2)
		return false;
	do {
		for (int i = 0; i < NR_SPINS; i++) {
			if (READ_ONCE(stw.nr_stopped) != seen)
				return true;
			cpu_relax();
		}
	} while (kr_clock_now_ns() < end_ns);
	return false;
}

static void sleep_until_not(uint32_t seen, uint64_t nap_ns)
{
	/* A full barrier: kr_stop_progress() sees it, or the futex is another. */
	kr_xchg(&stw.sleeps, 1);
	kr_futex_wait(&stw.nr_stopped, seen, kr_clock_now_ns() + nap_ns);
	WRITE_ONCE(stw.sleeps, 0);
}

static bool stop(struct m *mp, const char *why, bool code_too)
{
	uint64_t nap_ns = NAP_MIN_NS, polite_until_ns;
	bool done, rude = false;

	lock(mp);
	set_stw_and_take_lists(mp, why);
	polite_until_ns = kr_clock_now_ns() + POLITE_NS;
	for (;;) {
		uint32_t seen = READ_ONCE(stw.nr_stopped);

		if (READ_ONCE(sched.stopping))
			return give_up(mp);
		seize_ps(!code_too);
		tell_holders();
		/* Before the kicks: after it nobody gets into code any more. */
		done = all_ps_stopped();
		if (code_too) {
			if (rude)
				for_each_in_code(kick);
			done = done && all_at_rest();
		}
		if (done)
			return true;
		if (code_too && !rude) {
			rude = !spin_until_not(seen, polite_until_ns);
			continue;
		}
		if (spin_until_not(seen, kr_clock_now_ns() + SPIN_NS))
			continue;
		sleep_until_not(seen, nap_ns);
		if (nap_ns < NAP_MAX_NS)
			nap_ns *= 2;
	}
}

bool kr_stop_world(struct m *mp, const char *why)
{
	return stop(mp, why, true);
}

bool kr_stop_ps(struct m *mp, const char *why)
{
	return stop(mp, why, false);
}

/* ---- starting again ---- */

/*
 * Those in the runtime need no event any more, and the module would try to
 * deliver it for as long as they are there.
 */
static void untell(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 0; id < nr; id++) {
		struct kaus_worker *slot = sched.allm[id]->slot;

		if ((READ_ONCE(slot->events) & KAUS_EV_KICK) &&
		    (!id || READ_ONCE(slot->defer)))
			kr_and(&slot->events, ~KAUS_EV_KICK);
	}
}

/* To the M that had it when it was stopped. */
static void give_back(struct p *pp)
{
	uint64_t owner = kr_owner(pp);
	struct m *mp = pp->stopped_m;
	struct g *gp = mp->curg;

	pp->stopped_m = NULL;
	kr_offer(gp, pp, owner);
	if (!sched.assist->give(mp, pp, owner))
		return;
	/* A stale hint has made the module give it another P meanwhile. */
	kr_offer_retract(gp, pp, owner);
	kr_globq_put(gp);
	kr_lock(&sched.lock);
	kr_idle_put_locked(pp);
	kr_unlock(&sched.lock);
}

/*
 * A goroutine that computes would go on without its P, beside those that get
 * it now. Without the module sysmon finds it, and those that the module does not
 * know yet: a signal would interrupt system calls. Where stops are made by
 * signals in spite of the module, that tells it of its loss when it wakes.
 */
static bool kick_lost(struct m *mp)
{
	struct p *pp = READ_ONCE(mp->p);

	if (pp && kr_owner(pp) != READ_ONCE(mp->owner) &&
	    kr_is_joined(mp, kr_epoch()) && kr_attach_has_regs())
		kick(mp);
	return true;
}

void kr_start_world(struct m *mp)
{
	struct p *pp, *busy = NULL;
	bool is_started;

	KR_ASSERT(mp == stw.by);
	(void)mp;
	untell();
	wake_sleepers();
	kr_lock(&sched.lock);
	WRITE_ONCE(sched.stw, false);
	stw.by = NULL;
	for (uint32_t i = kr_nr_procs(); i-- > 0;) {
		pp = sched.allp[i];
		if (!is_stopped(pp))
			continue;
		if (!kr_cas(&pp->slot->owner, kr_owner(pp),
			    kr_owner_in(kr_owner(pp), KAUS_P_IDLE)))
			kr_throw("stw: stopped P has an owner");
		if (!pp->stopped_m && !pp->nextg && !kr_p_has_work(pp)) {
			kr_idle_put_locked(pp);
			continue;
		}
		pp->link = busy;
		busy = pp;
	}
	kr_unlock(&sched.lock);
	while ((pp = busy)) {
		busy = pp->link;
		if (pp->stopped_m)
			give_back(pp);
		else
			kr_p_start(pp);
	}
	if (kr_has_module(kr_epoch()))
		for_each_in_code(kick_lost);
	/* The collector comes here without a runtime too. */
	is_started = kr_nr_procs();
	kr_unlock(&stw.lock);
	if (!is_started)
		return;
	/* For the global queue and the timers. */
	kr_wakep();
	sched.assist->busy();
}
