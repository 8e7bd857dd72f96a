/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The scheduler loop, and who carries which P.
 *
 * DOC: M needs P to run G (Go's model, runtime/proc.go; the names are the
 * same). An M that has a P looks for a goroutine: the one handed over with the
 * P, every 61st time the global queue, its own queue, the global queue, the
 * queues and due timers of other Ps. While it looks at others it is
 * "spinning"; at most half as many Ms spin as Ps are busy. An M that finds
 * nothing puts its P on the idle list, looks once more, and parks in the pool.
 *
 * A lost wake-up must not happen between "queues are empty" and "parked":
 *
 *	whoever submits work		an M that gives up
 *	(A) store to a queue		(C) nr_idle++ and nr_spinning--
 *	(B) load nr_idle, nr_spinning	(D) load all queues
 *
 * A and C are locked operations, so of B and D at least one sees the other
 * side. The submitter wakes one M if some P is idle and nobody spins; the M
 * that was the last spinner and has found work wakes the next one. Rejected,
 * as in Go: waking an M for each goroutine (thrashes), and direct handing of a
 * new goroutine to an idle P (loses locality).
 *
 * Voluntary switches go straight from goroutine to goroutine when the P's own
 * queue has one, without visiting the M's loop: kr_switch_out(). What must be
 * done once the old context is saved is left to the new one as a "post"
 * action.
 *
 * A goroutine that was preempted in mid code is "locked" to its M (g.lockedm),
 * which sits parked below the trampoline. An M that takes such a goroutine
 * from a queue gives its P to that M and joins the pool.
 *
 * Ps whose holder sleeps in the kernel are marked SLEEPING by the assist. They
 * count as idle for kr_wakep().
 */
#include "base/rand.h"
#include "sched/sched.h"

#define GLOBQ_TICK	61	/* prime: no resonance with programs' patterns */
#define STEAL_ROUNDS	4

struct kr_sched sched;
__thread struct m *kr_tls_m __attribute__((tls_model("initial-exec")));

/* Not inlined: the compiler must not reuse an address of errno. */
static KR_NOINLINE int errno_get(void)
{
	return errno;
}

static KR_NOINLINE void errno_set(int err)
{
	errno = err;
}

uint64_t kr_owner(const struct p *pp)
{
	return READ_ONCE(pp->slot->owner);
}

static inline uint64_t with_state(uint64_t owner, uint32_t state)
{
	return (owner & ~(uint64_t)0xff) | state;
}

bool kr_owner_cas(struct p *pp, uint64_t old, uint64_t new)
{
	while (!kr_cas(&pp->slot->owner, old, new)) {
		if (KAUS_OWNER_STATE(old) != KAUS_P_RUNNING ||
		    !kr_cas(&pp->slot->owner,
			    with_state(old, KAUS_P_STOPPED), old))
			return false;
	}
	return true;
}

bool kr_p_needs_m(const struct p *pp)
{
	uint64_t timer = READ_ONCE(pp->slot->timer_ns);

	return kr_p_has_work(pp) || READ_ONCE(sched.hdr->nr_global) ||
	       (timer && timer <= kr_clock_now_ns());
}

/* ---- Ps ---- */

void kr_idle_put_locked(struct p *pp)
{
	pp->link = sched.idle_ps;
	sched.idle_ps = pp;
	kr_add(&sched.nr_idle, 1);
}

struct p *kr_idle_get(void)
{
	struct p *pp;

	if (!READ_ONCE(sched.nr_idle))
		return NULL;
	kr_lock(&sched.lock);
	pp = sched.idle_ps;
	if (pp) {
		sched.idle_ps = pp->link;
		kr_sub(&sched.nr_idle, 1);
	}
	kr_unlock(&sched.lock);
	if (pp)
		sched.assist->busy();
	return pp;
}

void kr_p_drop(struct m *mp)
{
	mp->p = NULL;
	WRITE_ONCE(mp->slot->proc, KAUS_NONE);
}

void kr_p_release(struct m *mp, struct p *pp)
{
	uint64_t idle = KAUS_OWNER(KAUS_P_IDLE, 0, KAUS_OWNER_GEN(mp->owner));

	/* The slot first: the module must not connect this M with a P that
	 * is already somebody else's.
	 */
	kr_p_drop(mp);
	if (!kr_owner_cas(pp, mp->owner, idle))
		kr_throw("proc: released a P of somebody else");
}

static void p_adopt(struct m *mp, struct p *pp)
{
	mp->p = pp;
	mp->home = pp->id;
	WRITE_ONCE(mp->slot->proc, pp->id);
	if (sched.bind && pp->cpu != KAUS_NONE && mp->bound_cpu != pp->cpu) {
		/* Advice: the mask may have shrunk since. */
		(void)kr_cpu_bind(pp->cpu);
		mp->bound_cpu = pp->cpu;
	}
	if (pp->start_spinning) {
		pp->start_spinning = false;
		mp->spinning = true;
	}
}

void kr_p_take(struct m *mp, struct p *pp)
{
	/* Sysmon may be probing it: then the CAS makes it RUNNING again. */
	mp->owner = with_state(kr_owner(pp), KAUS_P_RUNNING);
	if (KAUS_OWNER_WORKER(mp->owner) != mp->id ||
	    !kr_owner_cas(pp, mp->owner, mp->owner))
		kr_throw("proc: given a P that is not ours");
	p_adopt(mp, pp);
}

void kr_p_acquire(struct m *mp, struct p *pp)
{
	uint64_t old = kr_owner(pp);

	mp->owner = KAUS_OWNER(KAUS_P_RUNNING, mp->id,
			       KAUS_OWNER_GEN(old) + 1);
	if (KAUS_OWNER_STATE(old) != KAUS_P_IDLE ||
	    !kr_cas(&pp->slot->owner, old, mp->owner))
		kr_throw("proc: idle P is not idle");
	p_adopt(mp, pp);
}

void kr_pending_put(struct p *pp)
{
	kr_lock(&sched.lock);
	pp->link = sched.pending_ps;
	WRITE_ONCE(sched.pending_ps, pp);
	kr_unlock(&sched.lock);
}

static struct p *pending_get(void)
{
	struct p *pp;

	if (!READ_ONCE(sched.pending_ps))
		return NULL;
	kr_lock(&sched.lock);
	pp = sched.pending_ps;
	if (pp)
		WRITE_ONCE(sched.pending_ps, pp->link);
	kr_unlock(&sched.lock);
	return pp;
}

void kr_sleeping_clear(const struct p *pp)
{
	kr_and(&sched.hdr->sleeping[pp->id / 64], ~(1ULL << (pp->id % 64)));
}

void kr_sleeping_taken(const struct p *pp)
{
	kr_sleeping_clear(pp);
	kr_add(&sched.nr_handoffs, 1);
}

void kr_p_start(struct p *pp)
{
	int err = sched.assist->start(pp, kr_owner(pp));

	if (!err)
		return;
	if (err != -EAGAIN)
		kr_throw("proc: idle P has an owner");
	kr_pending_put(pp);
	sched.assist->service_poke();
}

/*
 * A P whose holder sleeps in the kernel, or NULL; look on from *@id. The hint
 * may be stale either way: the owner word decides.
 */
static struct p *sleeping_next(uint32_t *id, uint64_t *ret_owner)
{
	while (*id < sched.nr_procs) {
		uint64_t bits = READ_ONCE(sched.hdr->sleeping[*id / 64]) >>
				(*id % 64);
		struct p *pp;

		if (!bits) {
			*id = (*id / 64 + 1) * 64;
			continue;
		}
		*id += (uint32_t)__builtin_ctzll(bits);
		if (*id >= sched.nr_procs)
			break;
		pp = sched.allp[(*id)++];
		*ret_owner = kr_owner(pp);
		if (KAUS_OWNER_STATE(*ret_owner) == KAUS_P_SLEEPING)
			return pp;
	}
	return NULL;
}

/* A P whose holder sleeps in the kernel can do the work. */
static void wake_sleeping_p(void)
{
	uint64_t owner;
	uint32_t id = 0;
	struct p *pp;

	while ((pp = sleeping_next(&id, &owner))) {
		int err = sched.assist->start(pp, owner);

		if (!err)
			kr_sleeping_taken(pp);
		else if (err == -EAGAIN)
			sched.assist->service_poke();
		if (err != -EBUSY)
			return;
	}
}

/* A P that has work and no M, or NULL. It is then the caller's. */
static bool take_needy_p(struct m *mp)
{
	struct p *pp = pending_get();
	uint64_t owner;
	uint32_t id = 0;

	if (pp) {
		kr_p_acquire(mp, pp);
		return true;
	}
	while ((pp = sleeping_next(&id, &owner))) {
		uint64_t mine = KAUS_OWNER(KAUS_P_RUNNING, mp->id,
					   KAUS_OWNER_GEN(owner) + 1);

		if (!kr_p_needs_m(pp) || !kr_cas(&pp->slot->owner, owner, mine))
			continue;
		kr_sleeping_taken(pp);
		kr_p_take(mp, pp);
		return true;
	}
	return false;
}

void kr_wakep_slow(void)
{
	struct p *pp;

	if (READ_ONCE(sched.nr_spinning) || !kr_cas(&sched.nr_spinning, 0, 1))
		return;
	pp = kr_idle_get();
	if (pp) {
		pp->start_spinning = true;
		kr_p_start(pp);
		return;
	}
	kr_sub(&sched.nr_spinning, 1);
	wake_sleeping_p();
}

/* ---- running a goroutine ---- */

void kr_publish_stack(struct m *mp, const struct g *gp)
{
	struct kaus_worker *slot = mp->slot;

	if (gp) {
		WRITE_ONCE(slot->stack_lo,
			   (uint64_t)(gp->stack.lo + TRAMP_FRAME));
		WRITE_ONCE(slot->stack_hi, (uint64_t)gp->stack.hi);
	} else {
		WRITE_ONCE(slot->stack_hi, 0);
		WRITE_ONCE(slot->stack_lo, 0);
	}
}

static inline void set_running(struct m *mp, struct g *gp)
{
	mp->curg = gp;
	gp->wait_reason = NULL;
	WRITE_ONCE(gp->state, G_RUNNING);
	kr_publish_stack(mp, gp);
	mp->p->nr_switches++;
}

void kr_post_run(struct m *mp)
{
	kr_post_fn post = mp->post;

	if (post) {
		mp->post = NULL;
		post(mp, mp->post_g, mp->post_arg);
	}
}

/* From the M's loop into a goroutine; returns when one switches back. */
static void execute(struct m *mp, struct g *gp)
{
	set_running(mp, gp);
	kr_context_leave(&mp->g0, &gp->ctx, 0);
	kr_context_swap(&mp->g0.sp, gp->ctx.sp);
	kr_context_arrive(&mp->g0);
	kr_post_run(mp);
}

/* The P's own next goroutine if nothing else has a claim before it. */
static struct g *next_local(struct m *mp)
{
	struct p *pp = mp->p;
	bool inherit;
	struct g *gp;

	if (READ_ONCE(pp->slot->timer_ns) || READ_ONCE(sched.stopping))
		return NULL;
	if ((pp->sched_tick + 1) % GLOBQ_TICK == 0 &&
	    READ_ONCE(sched.hdr->nr_global))
		return NULL;
	gp = kr_runq_get(pp, &inherit);
	if (!gp)
		return NULL;
	if (!inherit)
		kr_new_slice(pp);
	if (gp->lockedm) {
		mp->nextg = gp;
		return NULL;
	}
	return gp;
}

struct m *kr_switch_out(struct m *mp, kr_post_fn post, void *arg)
{
	struct g *gp = mp->curg, *next;
	bool dead = READ_ONCE(gp->state) == G_DEAD;
	struct kr_context *to;

	gp->saved_errno = errno_get();
	next = next_local(mp);
	mp->post = post;
	mp->post_g = gp;
	mp->post_arg = arg;
	if (next) {
		set_running(mp, next);
		to = &next->ctx;
	} else {
		mp->curg = NULL;
		kr_publish_stack(mp, NULL);
		to = &mp->g0;
	}
	kr_context_leave(&gp->ctx, to, dead);
	kr_context_swap(&gp->ctx.sp, to->sp);
	kr_context_arrive(&gp->ctx);
	mp = kr_self();
	kr_post_run(mp);
	errno_set(gp->saved_errno);
	return mp;
}

static void post_free(struct m *mp, struct g *gp, void *arg)
{
	(void)arg;
	kr_g_free(mp, gp);
}

/* Store the result for kr_join and wake the joiner. The G is reused only
 * after it was joined.
 */
static void post_ended(struct m *mp, struct g *gp, void *arg)
{
	struct g *joiner = NULL;

	(void)arg;
	WRITE_ONCE(gp->state, G_DEAD);
	kr_lock(&gp->join_lock);
	if (gp->join == JOIN_WAITING)
		joiner = gp->joiner;
	gp->join = JOIN_ENDED;
	kr_unlock(&gp->join_lock);
	if (joiner)
		kr_ready(mp, joiner);
}

void kr_g_end(struct m *mp)
{
	struct g *gp = mp->curg;
	bool joinable = gp->join != JOIN_NONE;

	WRITE_ONCE(gp->state, G_DEAD);
	kr_switch_out(mp, joinable ? post_ended : post_free, NULL);
	kr_throw("proc: dead goroutine runs");
}

void kr_g_main(struct g *gp)
{
	struct m *mp = kr_self();

	kr_context_arrive(&gp->ctx);
	kr_post_run(mp);
	errno_set(0);
	kr_exit(mp);
	if (gp->spawn_fn)
		gp->ret_value = gp->spawn_fn(gp->arg);
	else
		gp->fn(gp->arg);
	mp = kr_enter();
	if (!mp)
		kr_throw("proc: goroutine ends inside the runtime");
	kr_g_end(mp);
}

/* ---- looking for work ---- */

struct g *kr_find_quick(struct m *mp)
{
	struct p *pp = mp->p;
	uint64_t timer;
	struct g *gp;
	bool inherit;

	gp = mp->nextg;
	if (gp) {
		mp->nextg = NULL;
		return gp;
	}
	gp = pp->nextg;
	if (gp) {
		pp->nextg = NULL;
		kr_new_slice(pp);
		return gp;
	}
	timer = READ_ONCE(pp->slot->timer_ns);
	if (timer) {
		uint64_t now = kr_clock_now_ns();

		if (timer <= now)
			kr_timers_run(mp, pp, now);
	}
	if ((pp->sched_tick + 1) % GLOBQ_TICK == 0) {
		gp = kr_globq_get(NULL);
		if (gp) {
			kr_new_slice(pp);
			return gp;
		}
	}
	gp = kr_runq_get(pp, &inherit);
	if (gp && inherit)
		return gp;
	if (!gp)
		gp = kr_globq_get(pp);
	kr_new_slice(pp);
	return gp;
}

static struct g *steal(struct m *mp)
{
	struct p *pp = mp->p;
	uint32_t nr = sched.nr_procs;
	struct g *gp;
	bool inherit;

	for (int round = 0; round < STEAL_ROUNDS; round++) {
		bool last = round == STEAL_ROUNDS - 1;
		uint32_t at = kr_rand(&pp->rand) % nr;

		for (uint32_t i = 0; i < nr; i++, at = (at + 1) % nr) {
			struct p *victim = sched.allp[at];
			uint64_t timer;

			if (victim == pp)
				continue;
			timer = READ_ONCE(victim->slot->timer_ns);
			if (last && timer && timer <= kr_clock_now_ns()) {
				kr_timers_run(mp, victim, kr_clock_now_ns());
				gp = kr_runq_get(pp, &inherit);
				if (gp)
					return gp;
			}
			if (!kr_p_has_work(victim))
				continue;
			gp = kr_runq_steal(pp, victim, last);
			if (gp)
				return gp;
		}
		cpu_relax();
	}
	return NULL;
}

static void stop_spinning(struct m *mp)
{
	if (!mp->spinning)
		return;
	mp->spinning = false;
	/* The last one that found work makes sure that somebody looks on. */
	if (kr_sub(&sched.nr_spinning, 1) == 0)
		kr_wakep();
}

static bool work_anywhere(void)
{
	uint64_t now = 0;

	if (READ_ONCE(sched.hdr->nr_global))
		return true;
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		struct p *pp = sched.allp[i];
		uint64_t timer = READ_ONCE(pp->slot->timer_ns);

		if (kr_p_has_work(pp))
			return true;
		if (timer && !now)
			now = kr_clock_now_ns();
		if (timer && timer <= now)
			return true;
	}
	return false;
}

/* Main has ended: nothing runs any more. The process will exit. */
static KR_NORETURN void m_halt(struct m *mp)
{
	struct p *pp;

	for (;;)
		sched.assist->park(mp, false, KAUS_FOREVER, &pp);
}

static void pooled(struct m *mp, bool on)
{
	if (mp->pooled == on)
		return;
	mp->pooled = on;
	if (on)
		kr_add(&sched.nr_pooled, 1);
	else
		kr_sub(&sched.nr_pooled, 1);
}

/*
 * Park in the pool until given a P. One of the idle Ms keeps time for all: it
 * sleeps until the earliest timer and then takes an idle P. Timers of Ps that
 * are not idle are also their holders' business, so a timekeeper that finds no
 * idle P has nothing to do.
 */
static void wait_for_p(struct m *mp)
{
	struct p *pp = NULL;

	if (take_needy_p(mp)) {
		pooled(mp, false);
		return;
	}
	pooled(mp, true);
	while (!pp) {
		uint64_t deadline = KAUS_FOREVER;
		uint64_t next;
		int err;

		if (READ_ONCE(sched.stopping))
			m_halt(mp);
		kr_lock(&sched.lock);
		next = sched.nr_idle ? kr_timers_next() : KAUS_FOREVER;
		if (next != KAUS_FOREVER &&
		    (!sched.timekeeper || next < sched.tk_ns)) {
			sched.timekeeper = mp;
			sched.tk_ns = next;
			deadline = next;
		}
		kr_unlock(&sched.lock);

		err = sched.assist->park(mp, true, deadline, &pp);
		if (deadline == KAUS_FOREVER)
			continue;
		kr_lock(&sched.lock);
		if (sched.timekeeper == mp)
			sched.timekeeper = NULL;
		kr_unlock(&sched.lock);
		if (err == -ETIMEDOUT) {
			pp = kr_idle_get();
			if (pp) {
				pooled(mp, false);
				kr_p_acquire(mp, pp);
				return;
			}
		}
	}
	pooled(mp, false);
	kr_p_take(mp, pp);
}

/* Nothing to do: give up the P. True if there is one again, false to park. */
static bool go_idle(struct m *mp)
{
	struct p *pp = mp->p;
	bool was_spinning = mp->spinning;

	kr_lock(&sched.lock);
	if (READ_ONCE(sched.hdr->nr_global) || READ_ONCE(sched.stopping)) {
		kr_unlock(&sched.lock);
		return true;
	}
	kr_p_release(mp, pp);
	kr_idle_put_locked(pp);			/* (C) */
	kr_unlock(&sched.lock);
	if (was_spinning) {
		mp->spinning = false;
		kr_sub(&sched.nr_spinning, 1);	/* (C) */
	}
	if (!work_anywhere())			/* (D) */
		return false;
	pp = kr_idle_get();
	if (!pp)
		return false;
	kr_p_acquire(mp, pp);
	if (was_spinning && !mp->spinning) {
		mp->spinning = true;
		kr_add(&sched.nr_spinning, 1);
	}
	return true;
}

static struct g *find_runnable(struct m *mp)
{
	struct g *gp;

	for (;;) {
		if (!mp->p)
			wait_for_p(mp);
		if (READ_ONCE(sched.stopping))
			m_halt(mp);
		gp = kr_find_quick(mp);
		if (gp)
			break;
		if (mp->spinning ||
		    2 * READ_ONCE(sched.nr_spinning) <
			    sched.nr_procs - READ_ONCE(sched.nr_idle)) {
			if (!mp->spinning) {
				mp->spinning = true;
				kr_add(&sched.nr_spinning, 1);
			}
			gp = steal(mp);
			if (gp) {
				kr_new_slice(mp->p);
				break;
			}
		}
		go_idle(mp);
	}
	stop_spinning(mp);
	return gp;
}

/* @gp may go on only on the M it is locked to: that one gets the P. */
static void handoff_locked(struct m *mp, struct g *gp)
{
	struct p *pp = mp->p, *given = NULL;
	int err;

	kr_p_drop(mp);
	pooled(mp, true);
	err = sched.assist->handoff(mp, true, gp->lockedm, pp, mp->owner,
				    &given);
	if (err)
		kr_throw("proc: cannot give a P to a locked M");
	if (given) {
		pooled(mp, false);
		kr_p_take(mp, given);
	}
}

/*
 * An M's thread. Preemption is off in the loop; the goroutines it runs turn it
 * on when they leave the runtime.
 */
void kr_m_loop(struct m *mp)
{
	for (;;) {
		struct g *gp = find_runnable(mp);

		if (gp->lockedm)
			handoff_locked(mp, gp);
		else
			execute(mp, gp);
	}
}

/* ---- leaving the kernel or the runtime ---- */

void kr_reacquire(struct m *mp)
{
	struct g *gp = mp->curg;
	struct p *pp = mp->p;
	uint64_t asleep = with_state(mp->owner, KAUS_P_SLEEPING);

	/* Fallback: being probed, or SLEEPING but nobody has taken it yet. */
	if (kr_owner_cas(pp, mp->owner, mp->owner))
		return;
	if (kr_cas(&pp->slot->owner, asleep, mp->owner)) {
		kr_sleeping_clear(pp);
		return;
	}
	mp->nr_lost++;
	kr_and(&mp->slot->events, ~KAUS_EV_LOST);
	kr_p_drop(mp);
	pp = kr_idle_get();
	if (pp) {
		kr_p_acquire(mp, pp);
		kr_new_slice(pp);
		return;
	}
	WRITE_ONCE(gp->state, G_RUNNABLE);
	gp->lockedm = mp;
	kr_globq_put(gp);
	kr_wakep();
	pp = NULL;
	while (!pp)
		sched.assist->park(mp, false, KAUS_FOREVER, &pp);
	kr_p_take(mp, pp);
	gp->lockedm = NULL;
	WRITE_ONCE(gp->state, G_RUNNING);
	kr_new_slice(mp->p);
}

static void post_yield(struct m *mp, struct g *gp, void *arg)
{
	(void)arg;
	WRITE_ONCE(gp->state, G_RUNNABLE);
	kr_runq_put(mp, gp, false);
}

static void post_preempted(struct m *mp, struct g *gp, void *arg)
{
	(void)mp;
	(void)arg;
	WRITE_ONCE(gp->state, G_RUNNABLE);
	kr_globq_put(gp);
}

struct m *kr_yield(struct m *mp)
{
	/* Once main has ended the loop halts whoever comes there. */
	if (!kr_p_needs_m(mp->p) && !READ_ONCE(sched.stopping))
		return mp;
	return kr_switch_out(mp, post_yield, NULL);
}

KR_NOINLINE void kr_exit_slow(void)
{
	struct m *mp = kr_self();

	do {
		uint32_t events;

		WRITE_ONCE(mp->slot->defer, 1);
		barrier();
		if (READ_ONCE(mp->p->slot->owner) != mp->owner)
			kr_reacquire(mp);
		events = kr_xchg(&mp->slot->events, 0);
		if ((events & KAUS_EV_PREEMPT) && kr_p_needs_m(mp->p)) {
			mp->p->nr_yield_preempts++;
			mp = kr_switch_out(mp, post_preempted, NULL);
		}
		barrier();
		WRITE_ONCE(mp->slot->defer, 0);
		barrier();
	} while (READ_ONCE(mp->slot->events));
}

void kr_proc_init(void)
{
	kr_globq_init();
	for (uint32_t i = sched.nr_procs; i-- > 0;)
		kr_idle_put_locked(sched.allp[i]);
}
