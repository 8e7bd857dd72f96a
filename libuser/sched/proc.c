/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The scheduler loop, and who carries which P.
 *
 * DOC: M needs P to run G (Go's model, runtime/proc.go; the names are the
 * same). An M that has a P looks for a goroutine: the one handed over with the
 * P, every 61st time the global queue, its own queue, the global queue (those
 * back from the kernel may come first), the queues and due timers of other Ps.
 * While it looks at others it is "spinning"; at most half as many Ms spin as Ps
 * are busy. An M that finds nothing puts its P on the idle list, looks once more,
 * and parks in the pool.
 *
 * A lost wake-up must not happen between "queues are empty" and "parked":
 *
 *	whoever submits work		an M that gives up
 *	(A) store to a queue		(C) nr_idle++ and nr_spinning--
 *	(B) load nr_idle, nr_spinning	(D) load all queues
 *
 * A and C are locked operations, so of B and D at least one sees the other
 * side. In place of D an M that did not spin may rely on one that does. The
 * submitter wakes one M if some P is idle and nobody spins; the M
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
 * from a queue gives its P to that M and joins the pool. One that has asked to
 * stay on its thread (kaus_lock_thread()) is locked whenever it does not run;
 * then its M gives the P away and waits in the same manner, below its loop.
 *
 * Ps whose holder sleeps in the kernel are marked SLEEPING by the assist. They
 * count as idle for kr_wakep().
 */
#include "base/rand.h"
#include "mem/root.h"
#include "sched/chance.h"
#include "sched/deadlock.h"
#include "sched/follow.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/scan.h"
#include "sched/stw.h"

#define GLOBQ_TICK	61	/* prime: no resonance with programs' patterns */
#define SPIN_NS		25000	/* at most, looking for work */
#define QUIET_NS	4000	/* and among Ps that do not change */
#define SEAT_NS		3000	/* until a runnext may be taken away */
#define LOOK_PAUSES	20
#define SHORT_QUEUE	8	/* to take more than one at GLOBQ_TICK */
#define LONG_QUEUE	32	/* for a timer's goroutine to wait at its end */
#define TIMERS_WEIGHT	9	/* of late timers against the global queue */
#define TURN_MAX_NS	10000000
#define BACK_WEIGHT	40	/* of all time to those back from the kernel */
#define BACK_BURST_NS	10000000
#define BACK_COST_NS	10000	/* of each: switches before and after it */

struct kr_sched sched;
KR_NOT_A_ROOT(sched);
__thread struct m *kr_tls_m __attribute__((tls_model("initial-exec")));

/* ---- running a goroutine ---- */

static inline void set_running(struct m *mp, struct g *gp)
{
	/* Before it changes what it had when the cycle began. */
	if (unlikely(smp_load_acquire(&sched.scan_nr)) && kr_scan_is_due(gp))
		sched.scan_first(mp, gp);
	WRITE_ONCE(mp->curg, gp);
	WRITE_ONCE(gp->state, G_RUNNING);
	if (!gp->ctx.saved.sp)
		kr_g_begin(mp, gp);
	kr_publish_stack(mp, gp->nopreempt ? NULL : gp);
	ADD_ONCE(mp->p->nr_switches, 1);
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
	kr_chance_arm(mp);
	kr_context_leave(&mp->g0, &gp->ctx, 0);
	kr_swap(&mp->g0.saved, &gp->ctx.saved);
	kr_context_arrive(&mp->g0);
	kr_post_run(mp);
}

/* Goroutines in the queue of a P. */
KR_INLINE uint32_t queue_len(const struct p *pp)
{
	return pp->slot->runq_tail - READ_ONCE(pp->slot->runq_head);
}

/*
 * Is there a timer to be fired before the next goroutine runs? Those that have
 * been fired run first: what is due meanwhile is to stand behind them in the
 * queue, and firing it later is no later. (A head that has come round to the
 * old end of the queue makes timers wait for one round of it, once in 2^24.)
 * With a long queue they take turns with it, see fire().
 */
KR_INLINE bool timer_is_first(const struct p *pp, uint64_t *now_ns)
{
	uint64_t timer = READ_ONCE(pp->slot->timer_ns);
	uint32_t head;

	if (!timer)
		return false;
	head = READ_ONCE(pp->slot->runq_head);
	if (pp->fired_tail - head - 1 < RUNQ_SIZE)
		return false;
	/* Without a queue nothing would run that counts as a turn. */
	if (pp->nr_switches - pp->fired_switch == 1 &&
	    queue_len(pp) > LONG_QUEUE)
		return false;
	*now_ns = kr_clock_now_ns();
	return timer <= *now_ns;
}

/*
 * Timers are due: their goroutines go to the end of the queue. If that is far
 * away the first runs at once, and another one after the next from the queue:
 * thus who sleeps does not wait for all of a crowd, nor the crowd for timers.
 */
static struct g *fire(struct m *mp, struct p *pp, uint64_t now_ns)
{
	struct g *gp;

	if (queue_len(pp) <= LONG_QUEUE) {
		kr_timers_run(mp, pp, now_ns);
		return NULL;
	}
	gp = kr_timers_run_one(mp, pp, now_ns);
	if (gp) {
		pp->fired_switch = pp->nr_switches;
		kr_new_slice(pp);
	}
	return gp;
}

/*
 * Who was in the kernel comes before those that compute: behind a hundred of them
 * it would wait for a hundred slices each time. It may turn out to compute, too,
 * and each costs some switches of threads: so together they have a part of the
 * time of all Ps, and some of it in advance. Beyond that they wait as all others
 * do. If two Ps tell at a time one of them is forgotten.
 */
/* So long all the others wait for it. */
#define BACK_NS(ran_ns)	(((ran_ns) + BACK_COST_NS) * BACK_WEIGHT / kr_nr_procs())

static void spend_back(uint64_t now_ns, uint64_t ran_ns)
{
	uint64_t after_ns = READ_ONCE(sched.back_after_ns);
	uint64_t most_ns = BACK_NS(TURN_MAX_NS);

	if (after_ns + BACK_BURST_NS < now_ns)
		after_ns = now_ns - BACK_BURST_NS;
	after_ns += BACK_NS(ran_ns);
	/* Of what the module has given in a row no more is owed than of one. */
	WRITE_ONCE(sched.back_after_ns, after_ns < now_ns + most_ns ? after_ns :
							now_ns + most_ns);
}

bool kr_back_has_turn(void)
{
	return kr_clock_now_ns() >= READ_ONCE(sched.back_after_ns);
}

/*
 * Timers that are late come before the global queue, where a hog goes that had
 * to give way to them: it would get a slice for every 61 of their goroutines,
 * which are short. But whoever takes the processor from it leaves it a tenth.
 */
static void end_globq_turn(struct p *pp, uint64_t now_ns)
{
	uint64_t ran_ns = now_ns - pp->globq_turn_ns;

	/* It may have slept with the P, while nobody else wanted it. */
	if (ran_ns > TURN_MAX_NS)
		ran_ns = TURN_MAX_NS;
	if (pp->turn_is_back) {
		spend_back(now_ns, ran_ns);
		pp->turn_is_back = false;
	} else {
		pp->globq_after_ns = now_ns + ran_ns * TIMERS_WEIGHT;
	}
	pp->globq_turn_ns = 0;
}

static void begin_back_turn(struct p *pp)
{
	pp->globq_turn_ns = kr_clock_now_ns();
	pp->turn_is_back = true;
}

static struct g *back_get(struct p *pp)
{
	struct g *gp = NULL;

	if (READ_ONCE(sched.gq_nr_back) && kr_back_has_turn())
		gp = kr_globq_get_back();
	if (gp)
		begin_back_turn(pp);
	return gp;
}

void kr_back_given(struct p *pp, const struct g *gp)
{
	/* Without one it was named as all others have come later. */
	bool has_turn = gp->is_back && kr_back_has_turn();

	if (pp->globq_turn_ns)
		end_globq_turn(pp, kr_clock_now_ns());
	if (has_turn)
		begin_back_turn(pp);
}

static bool is_globq_turn(struct p *pp)
{
	uint64_t timer = READ_ONCE(pp->slot->timer_ns), now_ns;

	if (!timer)
		return true;
	now_ns = kr_clock_now_ns();
	return timer > now_ns || now_ns >= pp->globq_after_ns;
}

static struct g *globq_get(struct p *pp, bool more)
{
	struct g *gp = back_get(pp);

	if (gp)
		return gp;
	gp = kr_globq_get(more ? pp : NULL);
	if (gp && READ_ONCE(pp->slot->timer_ns))
		pp->globq_turn_ns = kr_clock_now_ns();
	return gp;
}

/* The P's own next goroutine if nothing else has a claim before it. */
KR_INLINE struct g *next_local(struct m *mp)
{
	struct p *pp = mp->p;
	uint64_t now_ns;
	bool inherit;
	struct g *gp;

	if (unlikely(mp->lockedg)) {
		/* Before anybody can make it ready. */
		WRITE_ONCE(mp->curg->lockedm, mp);
		return NULL;
	}
	if (timer_is_first(pp, &now_ns) || pp->globq_turn_ns ||
	    READ_ONCE(sched.detour))
		return NULL;
	if ((pp->sched_tick + 1) % GLOBQ_TICK == 0) {
		if (READ_ONCE(sched.hdr->nr_global))
			return NULL;
		kr_follow_tick(pp);
	}
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

/* Go on with @next, or with the M's loop, and leave @post to it. */
KR_INLINE struct m *switch_to(struct m *mp, struct g *gp, struct g *next,
			      kr_post_fn post, void *arg, bool dead)
{
	struct kr_context *to;

	gp->saved_errno = *mp->errno_addr;
	mp->post = post;
	mp->post_g = gp;
	mp->post_arg = arg;
	if (next) {
		set_running(mp, next);
		to = &next->ctx;
	} else {
		WRITE_ONCE(mp->curg, NULL);
		kr_publish_stack(mp, NULL);
		to = &mp->g0;
	}
	kr_context_leave(&gp->ctx, to, dead);
	kr_swap(&gp->ctx.saved, &to->saved);
	kr_context_arrive(&gp->ctx);
	mp = kr_self();
	kr_post_run(mp);
	*mp->errno_addr = gp->saved_errno;
	return mp;
}

struct m *kr_switch_out(struct m *mp, kr_post_fn post, void *arg)
{
	return switch_to(mp, mp->curg, next_local(mp), post, arg, false);
}

static void post_free(struct m *mp, struct g *gp, void *arg)
{
	(void)arg;
	kr_g_free(mp, gp);
}

/* After the exchange whoever joins may use the G again. */
static void post_ended(struct m *mp, struct g *gp, void *arg)
{
	(void)arg;
	kr_g_strip(mp, gp);
	if (!kr_cas(&gp->join, JOIN_OPEN, JOIN_ENDED))
		kr_join_ended(mp, gp);
}

/*
 * Whoever waits in kaus_join() goes on at once, in the rest of the slice: it is
 * parked, and what it does first, reusing this stack, must not be done before
 * it was left.
 */
void kr_g_end(struct m *mp)
{
	struct g *gp = mp->curg, *next = NULL;
	uintptr_t join = smp_load_acquire(&gp->join);
	kr_post_fn post = NULL;

	WRITE_ONCE(gp->state, G_DEAD);
	mp->lockedg = NULL;
	mp->nr_thread_locks = 0;
	if (!(join & JOIN_MARK) && !READ_ONCE(((struct g *)join)->lockedm) &&
	    !READ_ONCE(sched.detour)) {
		next = (struct g *)join;
	} else {
		next = next_local(mp);
		post = join == JOIN_NONE ? post_free : post_ended;
	}
	switch_to(mp, gp, next, post, NULL, true);
	kr_throw("proc: dead goroutine runs");
}

static void post_join(struct m *mp, struct g *gp, void *arg)
{
	struct g *target = *(struct g **)arg;

	WRITE_ONCE(gp->state, G_WAITING);
	if (kr_cas(&target->join, JOIN_OPEN, (uintptr_t)gp))
		return;
	/* It has ended since; or somebody else joins it, which is refused. */
	if (!kr_cas(&target->join, JOIN_ENDED, (uintptr_t)gp))
		*(struct g **)arg = NULL;
	kr_ready(mp, gp);
}

struct m *kr_g_join(struct m *mp, struct g *gp, int *ret_err)
{
	struct g *self = mp->curg;

	*ret_err = 0;
	switch (smp_load_acquire(&gp->join)) {
	case JOIN_OPEN:
		WRITE_ONCE(self->wait_reason, "join");
		mp = kr_switch_out(mp, post_join, &gp);
		if (gp)
			return mp;
		break;
	case JOIN_ENDED:
		if (kr_cas(&gp->join, JOIN_ENDED, (uintptr_t)self))
			return mp;
		break;
	default:
		break;
	}
	*ret_err = -EINVAL;
	return mp;
}

void kr_g_main(struct g *gp)
{
	struct m *mp = kr_self();

	kr_context_arrive(&gp->ctx);
	kr_post_run(mp);
	*mp->errno_addr = 0;
	kr_exit(mp);
	if (gp->spawn_fn)
		gp->ret_value = gp->spawn_fn(gp->arg);
	else
		gp->fn(gp->arg);
	if (gp->locals)
		kr_locals_end(gp);
	mp = kr_enter();
	if (!mp)
		kr_throw("proc: goroutine ends inside the runtime");
	kr_g_end(mp);
}

/* ---- looking for work ---- */

struct g *kr_find_quick(struct m *mp)
{
	struct p *pp = mp->p;
	uint64_t now_ns;
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
	if (unlikely(pp->globq_turn_ns))
		end_globq_turn(pp, kr_clock_now_ns());
	if (timer_is_first(pp, &now_ns)) {
		gp = fire(mp, pp, now_ns);
		if (gp)
			return gp;
	}
	if (kr_chance_on())
		return kr_chance_pick(mp);
	if ((pp->sched_tick + 1) % GLOBQ_TICK == 0) {
		kr_follow_tick(pp);
		/* Many, if only who polls by kaus_yield() keeps the queue from
		 * being empty: all others may wait elsewhere.
		 */
		gp = is_globq_turn(pp) ?
			     globq_get(pp, queue_len(pp) < SHORT_QUEUE) : NULL;
		if (gp) {
			kr_new_slice(pp);
			return gp;
		}
	}
	gp = kr_runq_get(pp, &inherit);
	if (gp && inherit)
		return gp;
	if (!gp)
		gp = globq_get(pp, true);
	kr_new_slice(pp);
	return gp;
}

/*
 * The holder of @victim has run one goroutine for a while, with another in the
 * seat. Robbing one that is about to get to it would make pairs that wake each
 * other bounce between CPUs. What it has seen outlasts the look: on a slow machine
 * one round takes longer than a spinner may stay.
 */
static bool sits_long(struct kr_seated *seen, const struct p *victim,
		      uint64_t now)
{
	uint64_t nr = READ_ONCE(victim->nr_switches);

	if (seen->victim == victim && seen->nr_switches == nr)
		return now - seen->since_ns >= SEAT_NS;
	if (seen->victim != victim && now - seen->since_ns < 2 * SEAT_NS)
		return false;
	*seen = (struct kr_seated){ victim, nr, now };
	return false;
}

/*
 * Does the kernel run something else in place of the holder? Only the module
 * tells. Such a P is robbed after those whose holders run, whose queues are in
 * warm caches; and of its runnext too, for it will not get to that in a moment.
 */
static bool is_off_cpu(const struct p *victim)
{
	uint64_t owner = kr_owner(victim);
	uint32_t id = KAUS_OWNER_WORKER(owner);

	return sched.assist->tells_on_cpu &&
	       KAUS_OWNER_STATE(owner) == KAUS_P_RUNNING &&
	       id < smp_load_acquire(&sched.nr_ms) &&
	       !READ_ONCE(sched.allm[id]->slot->on_cpu);
}

/*
 * Look at the other Ps, in an order drawn each time, until there is something to
 * take, or until they have been quiet for a moment. As long as an M spins nobody
 * wakes another one, which is a system call: so among Ps that are busy with
 * themselves it is worth more to stay than to park and be woken for nothing again
 * and again.
 */
static struct g *steal(struct m *mp)
{
	uint64_t now = kr_clock_now_ns(), end = now + SPIN_NS;
	uint64_t quiet = now + QUIET_NS, last_sum = 0;
	struct kr_seated *seen = &mp->seated;
	struct p *pp = mp->p;
	uint32_t nr = kr_nr_procs();
	struct g *gp;
	bool inherit;

	if (kr_alone())
		return NULL;
	for (;;) {
		uint32_t lot = kr_rand(&pp->rand), at = lot % nr;
		uint32_t step = sched.steps[(lot >> 16) % sched.nr_steps];
		struct p *off_cpu = NULL;
		uint64_t sum = 0;

		for (uint32_t i = 0; i < nr; i++, at = (at + step) % nr) {
			struct p *victim = sched.allp[at];
			uint64_t timer, next;

			if (victim == pp)
				continue;
			timer = READ_ONCE(victim->slot->timer_ns);
			if (timer && timer <= now) {
				kr_timers_run(mp, victim, now);
				gp = kr_runq_get(pp, &inherit);
				if (gp)
					return gp;
			}
			next = READ_ONCE(victim->slot->runnext);
			sum += next * 3 + READ_ONCE(victim->slot->runq_tail) +
			       READ_ONCE(victim->slot->sched_tick);
			if (!kr_p_has_work(victim))
				continue;
			if (is_off_cpu(victim)) {
				off_cpu = victim;
				continue;
			}
			gp = kr_runq_steal(pp, victim, next &&
					   sits_long(seen, victim, now));
			if (gp)
				return gp;
		}
		gp = off_cpu ? kr_runq_steal(pp, off_cpu, true) : NULL;
		if (gp)
			return gp;
		if (READ_ONCE(sched.hdr->nr_global) ||
		    READ_ONCE(sched.stopping) || READ_ONCE(sched.stw))
			return NULL;
		now = kr_clock_now_ns();
		if (sum != last_sum)
			quiet = now + QUIET_NS;
		last_sum = sum;
		if (now >= end || now >= quiet)
			return NULL;
		/* Each look takes cache lines away from who needs them. */
		for (int i = 0; i < LOOK_PAUSES; i++)
			cpu_relax();
	}
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

static struct g *find_runnable(struct m *mp)
{
	struct g *gp;

	for (;;) {
		if (!mp->p && !kr_m_wait(mp))
			return NULL;
		if (READ_ONCE(sched.stopping))
			kr_m_halt(mp);
		if (unlikely(READ_ONCE(sched.stw))) {
			kr_stop_in_loop(mp);
			continue;
		}
		gp = kr_find_quick(mp);
		if (!gp && kr_netpoll_is_on())
			gp = kr_netpoll_find(mp);
		if (gp)
			break;
		if (mp->spinning ||
		    2 * READ_ONCE(sched.nr_spinning) <
			    kr_nr_procs() - READ_ONCE(sched.nr_idle)) {
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
		kr_m_go_idle(mp);
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
	kr_m_pooled(mp, true);
	kr_offer(gp, pp, mp->owner);
	err = sched.assist->handoff(mp, true, gp->lockedm, pp, mp->owner,
				    &given);
	if (err) {
		/* It has been given one and will look for its goroutine. */
		if (err != -EBUSY)
			kr_throw("proc: cannot give a P to a locked M");
		kr_m_pooled(mp, false);
		mp->p = pp;
		WRITE_ONCE(mp->slot->proc, pp->id);
		kr_offer_retract(gp, pp, mp->owner);
		kr_globq_put_again(gp);
		/* Whoever looked while it was in no queue has gone idle. */
		kr_wakep();
		return;
	}
	if (given) {
		kr_m_pooled(mp, false);
		kr_p_take(mp, given);
	}
}

/*
 * The goroutine that this M is locked to has parked or given way: others get
 * the P, and one comes back with it.
 */
static void wait_for_lockedg(struct m *mp)
{
	struct p *pp = mp->p;

	kr_lock(&sched.lock);
	kr_p_release(mp, pp);
	kr_idle_put_locked(pp);
	kr_unlock(&sched.lock);
	/* Somebody has to keep time, too, and this M will not. */
	if (kr_work_anywhere() || kr_timers_next() != KAUS_FOREVER)
		kr_wakep();
	kr_add(&sched.nr_lockedg_waits, 1);
	kr_deadlock_hint();
	kr_wait_locked(mp, mp->lockedg, NULL);
	kr_sub(&sched.nr_lockedg_waits, 1);
}

/*
 * An M's thread. Preemption is off in the loop; the goroutines it runs turn it
 * on when they leave the runtime.
 */
void kr_m_loop(struct m *mp)
{
	for (;;) {
		struct g *gp;

		if (mp->lockedg) {
			wait_for_lockedg(mp);
			execute(mp, mp->lockedg);
			continue;
		}
		gp = find_runnable(mp);
		if (!gp)
			return;
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
	uint64_t asleep = kr_owner_in(mp->owner, KAUS_P_SLEEPING);

	/* Fallback: being probed, or SLEEPING but nobody has taken it yet. */
	if (kr_owner_cas(pp, mp->owner, mp->owner))
		return;
	if (kr_cas(&pp->slot->owner, asleep, mp->owner)) {
		kr_sleeping_clear(pp);
		return;
	}
	ADD_ONCE(mp->nr_lost, 1);
	kr_and(&mp->slot->events, ~KAUS_EV_LOST);
	kr_p_drop(mp);
	pp = kr_idle_get();
	if (!pp)
		pp = kr_pending_get();
	if (pp) {
		bool was_last = kr_p_no_spinner(pp);

		kr_p_acquire(mp, pp);
		kr_new_slice(pp);
		/* Nobody looks for work in its place: the goroutine goes on. */
		if (was_last)
			kr_wakep();
		return;
	}
	WRITE_ONCE(gp->state, G_RUNNABLE);
	WRITE_ONCE(gp->lockedm, mp);
	kr_globq_put_back(gp);
	kr_wakep();
	kr_wait_locked(mp, gp, NULL);
}

static void post_yield(struct m *mp, struct g *gp, void *arg)
{
	(void)arg;
	WRITE_ONCE(gp->state, G_RUNNABLE);
	kr_runq_put(mp, gp, false);
	if (kr_alone())
		return;
	/* Whoever looked in between has found no work and gone idle. */
	smp_mb();	/* (A) before (B) */
	kr_wakep();
}

void kr_post_preempted(struct m *mp, struct g *gp, void *arg)
{
	(void)mp;
	(void)arg;
	WRITE_ONCE(gp->state, G_RUNNABLE);
	kr_globq_put(gp);
	kr_wakep();
}

struct m *kr_yield(struct m *mp)
{
	/* Once main has ended the loop halts whoever comes there. */
	if (!kr_p_needs_m(mp->p) && !READ_ONCE(sched.stopping))
		return mp;
	return kr_switch_out(mp, post_yield, NULL);
}

struct m *kr_act_on_events(struct m *mp)
{
	uint32_t events = kr_xchg(&mp->slot->events, 0);

	if (unlikely(events & KR_EV_FINAL))
		sched.finalize(mp);
	if (unlikely(READ_ONCE(sched.stw))) {
		kr_stop_here(mp);
	} else if (unlikely(events & KR_EV_GC)) {
		mp = sched.gc(mp);
	} else if ((events & KAUS_EV_PREEMPT) && !mp->curg->nopreempt &&
		   kr_p_needs_m(mp->p) && kr_chance_gives_way(mp)) {
		ADD_ONCE(mp->p->nr_yield_preempts, 1);
		mp = kr_switch_out(mp, kr_post_preempted, NULL);
	}
	return mp;
}

KR_NOINLINE void kr_exit_slow(void)
{
	struct m *mp = kr_self();

	do {
		WRITE_ONCE(mp->slot->defer, 1);
		barrier();
		if (READ_ONCE(mp->p->slot->owner) != mp->owner)
			kr_reacquire(mp);
		mp = kr_act_on_events(mp);
		barrier();
		smp_store_release(&mp->slot->defer, 0);
		barrier();
	} while (READ_ONCE(mp->slot->events));
	/* Perhaps another M's by now, which does no harm. */
	kr_chance_arm(mp);
}

void kr_proc_init(void)
{
	kr_globq_init();
	for (uint32_t i = kr_nr_procs(); i-- > 0;)
		kr_idle_put_locked(sched.allp[i]);
}
