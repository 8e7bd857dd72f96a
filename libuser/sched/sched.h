/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The scheduler's global state and the functions its files offer each other
 * and the layers above. HACKING.md tells the words and the rules; the essay on
 * the loop is in proc.c.
 */
#ifndef KR_SCHED_SCHED_H
#define KR_SCHED_SCHED_H

#include <errno.h>
#include <linux/kaus.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

#include "base/barrier.h"
#include "base/bug.h"
#include "base/compiler.h"
#include "os/os.h"
#include "sched/assist.h"
#include "sched/g.h"
#include "sched/m.h"
#include "sched/p.h"
#include "sched/timer.h"
#include "sched/wait.h"

/* An M for each P and some to spare. */
#define KR_MAX_WORKERS	2048

struct kr_batch;

/* Anybody puts, wait-free; takers hold gq_lock. */
struct kr_gq {
	struct cds_wfcq_tail tail KR_PAIR_ALIGNED;
	uint32_t last_nr;		/* g.gq_nr; that of gq is of both */
	struct cds_wfcq_head head KR_PAIR_ALIGNED;
};

struct kr_sched {
	/* Fixed before the first M starts. */
	const struct kr_assist *assist;	/* may change: attach.c */
	uint32_t epoch;			/* odd: the module's; attach.h */
	struct kaus_header *hdr;
	uint32_t max_procs;		/* the region has room for */
	uint32_t max_ms;
	uint64_t slice_ns;		/* 0: the assist's default */
	bool bind;			/* changes with the assist, ... */
	bool bind_auto;			/* ... if this is set */
	bool chance;			/* scheduling by lot, chance.c */
	bool virtual_time;		/* virtual.c */
	bool follow;			/* nr_procs follows the CPUs, follow.c */
	bool watch;			/* ... or something else does */
	bool quota;			/* the group's CPU time is limited */
	/* What to do with the control group's limit of memory, or NULL. */
	void (*follow_memory)(uint64_t bytes);
	void (*gc_look)(void);		/* as often */

	/*
	 * Changed while all Ps are stopped, resize.c: so whoever has a P sees
	 * one value. Entries of allp beyond nr_procs up to nr_ps are Ps that
	 * were there once: STOPPED, and with nothing in them.
	 */
	struct p **allp;
	uint32_t nr_procs;
	uint32_t nr_ps;

	/* Flags, plain. */
	bool running;			/* between start-up and the end of main */
	bool stopping;			/* main has ended: Ms stop */
	bool detour;			/* all switches go through the loop */
	bool stw;			/* the world stops; written under lock */
	/* Not 0: who runs a goroutine looks if the collector has: scan.c. */
	uint32_t scan_nr;
	void (*scan_first)(struct m *mp, struct g *gp);
	/* There are timers it has not looked at: who takes one tells of it. */
	bool scan_timers;
	void (*scan_timer)(const void *t);
	struct m *(*gc)(struct m *mp);	/* for KR_EV_GC */
	void (*finalize)(struct m *mp);	/* for KR_EV_FINAL */
	void (*make_helpers)(void);	/* threads of the collector */
	uint32_t nr_helpers;		/* that it has made */
	int main_status;
	uint32_t main_done;		/* futex */

	/* Counters that every M changes. */
	uint32_t nr_spinning KR_PAIR_ALIGNED;
	uint32_t nr_idle KR_PAIR_ALIGNED;
	uint32_t nr_pooled;		/* Ms in the pool or on their way */
	uint32_t nr_lockedg_waits;	/* Ms whose own goroutine has parked */
	uint32_t nr_started;		/* Ms that have registered; futex */
	uint64_t next_goid KR_PAIR_ALIGNED;
	uint64_t nr_gs_outside;		/* made by threads that are no M */
	uint64_t nr_handoffs;		/* done here; others in the slots */
	uint64_t virtual_ns;		/* the time, if it is virtual */
	uint32_t nr_outside_waits;	/* if it is, for what is not */

	/* lock */
	uint32_t lock KR_PAIR_ALIGNED;
	struct p *idle_ps;
	struct p *pending_ps;		/* have work, lack an M: the service's */
	struct m *free_ms;		/* have no thread any more */
	struct m *timekeeper;		/* idle M that sleeps until tk_ns */
	uint64_t tk_ns;

	uint32_t probe_lock;		/* RUNNING words that are probed */

	/* Ms by worker index; appended by the service and the spawner only. */
	uint32_t nr_ms KR_PAIR_ALIGNED;
	uint32_t nr_live_ms;		/* with a thread, the service left out */
	uint32_t reap_round;		/* of looking for Ms too many, service.c */
	uint32_t reaping;		/* the spawner does */
	struct m *allm[KR_MAX_WORKERS];

	/*
	 * The global queue. Its length is hdr->nr_global, which the module
	 * reads; what is in gq_back and in batches (runq.c) counts too.
	 */
	struct kr_gq gq;
	struct kr_gq gq_back;		/* those back from the kernel: runq.c */
	uint32_t gq_nr_back;		/* entries of that, cancelled ones too */
	uint64_t back_after_ns;		/* none of gq_back has the turn until then */
	uint32_t gq_lock;
	uint32_t gq_takes;		/* batches and queue take turns */
	struct kr_batch *gq_oldest, *gq_newest;
	struct kr_batch *gq_free;

	/*
	 * Steps by which a thief comes by each P once: prime to nr_procs, and
	 * changed with it.
	 */
	uint32_t nr_steps KR_PAIR_ALIGNED;
	uint16_t steps[KAUS_MAX_PROCS];
};

extern struct kr_sched sched;

/* Acquire: so many of allp are there. Reload it rather than keep it. */
static inline uint32_t kr_nr_procs(void)
{
	return smp_load_acquire(&sched.nr_procs);
}

/* Ps ever made, for those who sum up or look at what they did. */
static inline uint32_t kr_nr_ps(void)
{
	return smp_load_acquire(&sched.nr_ps);
}

/* proc.c: the loop */

void kr_proc_init(void);
/* Returns when there are more Ms than are needed: the thread ends. */
void kr_m_loop(struct m *mp);
/*
 * A new M, on its own thread: choose a P to wait for and bind to its CPU, so
 * that the first hand-off need not.
 */
void kr_m_settle(struct m *mp);
void kr_g_main(struct g *gp) KR_NORETURN;

/**
 * kr_switch_out() - Leave the running goroutine.
 * @mp: The M, preemption off.
 * @post: What the next context does once this one is saved: put it into a
 *	queue, unlock what protects its wait list.
 * @arg: Passed to @post.
 *
 * Context: the goroutine's stack. Returns, preemption still off, when somebody
 * runs the goroutine again, perhaps on another M: use the returned one.
 */
struct m *kr_switch_out(struct m *mp, kr_post_fn post, void *arg);

/* Run now what the context before this one left to do. */
void kr_post_run(struct m *mp);

/* Tell the module that @gp runs on @mp, or that the M's own stack does. */
static inline void kr_publish_stack(struct m *mp, const struct g *gp)
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

/* Make another P busy if one is idle and nobody is looking for work yet. */
void kr_wakep_slow(void);
static inline void kr_wakep(void)
{
	/* Pairs with the idle side of kr_find_runnable(): the caller's queue
	 * store was a locked operation, so this load is not early.
	 */
	if (READ_ONCE(sched.nr_idle) ||
	    READ_ONCE(sched.hdr->sleeping[0]) || kr_nr_procs() > 64)
		kr_wakep_slow();
}

/* The module sees a new slice begin when the tick changes. */
static inline void kr_new_slice(struct p *pp)
{
	WRITE_ONCE(pp->slot->sched_tick, ++pp->sched_tick);
}

/* End the running goroutine; @mp as from kr_enter(). */
void kr_g_end(struct m *mp) KR_NORETURN;

/**
 * kr_g_join() - Wait for the end of a goroutine made by kaus_spawn().
 * @mp: The M, preemption off.
 * @gp: The goroutine. It is then the caller's, to be freed.
 * @ret_err: 0, or -EINVAL if it cannot be joined (any more).
 *
 * Return: the M it goes on with.
 */
struct m *kr_g_join(struct m *mp, struct g *gp, int *ret_err);

/* join.c */

/**
 * kr_g_join_until() - The same with a deadline, and for plain threads.
 * @mp: The M, preemption off; NULL on a plain thread.
 * @gp: The goroutine. After a failure it is as it was.
 * @deadline_ns: Absolute CLOCK_MONOTONIC; KAUS_NO_DEADLINE: none.
 * @ret_err: 0, -ETIMEDOUT, or as kr_g_join().
 *
 * Return: the M it goes on with.
 */
struct m *kr_g_join_until(struct m *mp, struct g *gp, uint64_t deadline_ns,
			  int *ret_err);
/* @gp has ended, its stack has been left, and it was not just OPEN. */
void kr_join_ended(struct m *mp, struct g *gp);

/* idle.c */

/* Main has ended: nothing runs any more. The process will exit. */
void kr_m_halt(struct m *mp) KR_NORETURN;
/* The M is idle, and counts as such, or is not any more. */
void kr_m_pooled(struct m *mp, bool on);
/* Park until given a P. Return: false: without one, the M ends. */
bool kr_m_wait(struct m *mp);
/* Nothing to do: give up the P. Return: there is one again; false: wait. */
bool kr_m_go_idle(struct m *mp);

/* Let others run if there are any. Return: the M it goes on with. */
struct m *kr_yield(struct m *mp);

/* The next goroutine for a P, without blocking or spinning; or NULL. */
struct g *kr_find_quick(struct m *mp);

/* p.c */
uint64_t kr_owner(const struct p *pp);
/* The same holder and generation in another state. */
static inline uint64_t kr_owner_in(uint64_t owner, uint32_t state)
{
	return (owner & ~(uint64_t)0xff) | state;
}
/**
 * kr_owner_cas() - Change the owner word, as its holder if it is RUNNING.
 *
 * The fallback's sysmon turns a word to STOPPED while it finds out whether the
 * holder has preemption off (sysmon.c); the holder may turn it back any time.
 *
 * Return: false if it is not @old.
 */
bool kr_owner_cas(struct p *pp, uint64_t old, uint64_t new);
/* sched.lock held: an IDLE P joins the list; or it is stopped with the world. */
void kr_idle_put_locked(struct p *pp);
/* Take an idle P off the list, or NULL. */
struct p *kr_idle_get(void);
/* An idle P that came off the list is now @mp's. */
void kr_p_acquire(struct m *mp, struct p *pp);
/* @mp has been given @pp by its owner word. */
void kr_p_take(struct m *mp, struct p *pp);
/* @mp no longer carries its P; the owner word is not touched. */
void kr_p_drop(struct m *mp);
/* The Ps are stopped: @mp gives up the P it carries and goes on with @to. */
void kr_p_change(struct m *mp, struct p *to);
/* The P that @mp carries has another CPU. */
void kr_p_bind(struct m *mp);
/* RUNNING -> IDLE, not on the idle list. */
void kr_p_release(struct m *mp, struct p *pp);
/* An idle P that has work and no M waits for the next one. */
void kr_pending_put(struct p *pp);
struct p *kr_pending_get(void);
/*
 * Whoever gets @pp has a goroutine to run: it does not begin as a spinner.
 * Return: true if it would have been the only one: others have made goroutines
 * ready and relied on it, so kr_wakep() is to follow.
 */
bool kr_p_no_spinner(struct p *pp);
/*
 * A P is SLEEPING no more: clear its hint. Whoever changed the word does it,
 * before the new holder runs: later it might be the hint of another sleep.
 */
void kr_sleeping_clear(const struct p *pp);
/* A P of a sleeper was given to another M here, not by the module itself. */
void kr_count_handoff(void);
/* Find an M for an idle P that came off the list. */
void kr_p_start(struct p *pp);
/* Take a P that has work and no M. True: it is @mp's. */
bool kr_p_take_needy(struct m *mp);
/* Somebody waits for this P, or a timer of it is due. */
bool kr_p_needs_m(const struct p *pp);
/* A goroutine waits in some queue, or a timer is due. */
bool kr_work_anywhere(void);

/**
 * kr_reacquire() - Get a P for a goroutine that lost its own in the kernel.
 * @mp: The M, preemption off, its goroutine in mp->curg.
 *
 * May block the thread until a P is free. Context: any stack.
 */
void kr_reacquire(struct m *mp);

/* Put the goroutine that was preempted back, as a kr_post_fn. */
void kr_post_preempted(struct m *mp, struct g *gp, void *arg);

/*
 * Take the pending events and do what they ask for. Preemption off, a P in
 * hand, on a goroutine's stack. Return: The M the goroutine is on afterwards.
 */
struct m *kr_act_on_events(struct m *mp);

/*
 * An event of our own in the slot, which the module ignores: the M collects
 * garbage before it leaves the runtime. Set by the M itself.
 */
#define KR_EV_GC	(1U << 31)
/* And it starts the goroutine that calls finalizers. */
#define KR_EV_FINAL	(1U << 30)

/* What kr_exit() does when events are pending. */
void kr_exit_slow(void);

/**
 * kr_enter() - Begin a call into the runtime: no preemption, a P in hand.
 *
 * Return: The M, or NULL if the caller is no goroutine (a plain thread, a
 * signal handler inside the runtime).
 */
static inline struct m *kr_enter(void)
{
	struct m *mp = kr_self();

	if (unlikely(!mp || !mp->curg || mp->slot->defer))
		return NULL;
	WRITE_ONCE(mp->slot->defer, 1);
	barrier();
	if (unlikely(READ_ONCE(mp->p->slot->owner) != mp->owner))
		kr_reacquire(mp);
	return mp;
}

/**
 * kr_exit() - End it. The last thing a call does: it may switch to another M.
 * @mp: The present M.
 */
static inline void kr_exit(struct m *mp)
{
	/* Release: who takes the P from here on sees all that was done. */
	smp_store_release(&mp->slot->defer, 0);
	barrier();
	if (unlikely(READ_ONCE(mp->slot->events)))
		kr_exit_slow();
}

/*
 * deadlock.c: a plain thread calls the library. When such a thread ends it is
 * looked whether all goroutines wait for it in vain.
 */
extern __thread bool kr_tls_called;
void kr_plain_begin(void);

static inline bool kr_is_plain(void)
{
	if (kr_self() || !READ_ONCE(sched.running))
		return false;
	if (unlikely(!kr_tls_called))
		kr_plain_begin();
	return true;
}

/**
 * kr_enter_try() - kr_enter() of a fast path, which ends where a call begins.
 * @mp: From kr_self().
 *
 * Return: false if the caller is no goroutine, or has lost its P; nothing has
 * been done then, and kr_enter() tells which.
 */
static inline bool kr_enter_try(struct m *mp)
{
	struct kaus_worker *slot;

	if (unlikely(!mp || !mp->curg))
		return false;
	slot = mp->slot;
	if (unlikely(slot->defer))
		return false;
	WRITE_ONCE(slot->defer, 1);
	barrier();
	if (likely(READ_ONCE(mp->p->slot->owner) == mp->owner))
		return true;
	WRITE_ONCE(slot->defer, 0);
	return false;
}

/**
 * kr_enter_any() - kr_enter() for calls that plain threads may make too.
 * @ret_mp: The M, or NULL on a plain thread.
 *
 * Return: false if the runtime does not run.
 */
static inline bool kr_enter_any(struct m **ret_mp)
{
	*ret_mp = kr_enter();
	return *ret_mp || kr_is_plain() || READ_ONCE(sched.running);
}

/**
 * kr_enter_wait() - kr_enter() for calls that block, goroutine or plain thread.
 * @ret_mp: The M, or NULL on a plain thread.
 *
 * Return: false if the runtime does not run, or the caller is a signal handler
 * that interrupted it, or a thread of its own.
 */
static inline bool kr_enter_wait(struct m **ret_mp)
{
	*ret_mp = kr_enter();
	return *ret_mp || kr_is_plain();
}

static inline void kr_exit_any(struct m *mp)
{
	if (mp)
		kr_exit(mp);
}

/* runq.c; see also runq.h */
struct g *kr_runq_steal(struct p *pp, struct p *victim, bool steal_next);
void kr_globq_init(void);
/* Any thread; wait-free. */
void kr_globq_put(struct g *gp);
/* The same for one that was in the kernel, and computes little as it seems. */
void kr_globq_put_back(struct g *gp);
/* Take back an entry that nobody has taken yet; see enum g_claim. */
bool kr_globq_cancel(struct g *gp);
/* @pp: P whose queue takes what fits beyond the first, or NULL: one only. */
struct g *kr_globq_get(struct p *pp);
/* Only one that kr_globq_put_back() has put. */
struct g *kr_globq_get_back(void);
/* One that was taken, and that nobody could run: to the end of its queue. */
static inline void kr_globq_put_again(struct g *gp)
{
	if (gp->is_back)
		kr_globq_put_back(gp);
	else
		kr_globq_put(gp);
}

/* proc.c: may one of those come before others that wait? */
bool kr_back_has_turn(void);
/* @gp goes on with @pp, which has come to it from the module. */
void kr_back_given(struct p *pp, const struct g *gp);

/* park.c */
void kr_post_unlock(struct m *mp, struct g *gp, void *lock);

/**
 * kr_park_unlock() - Park the goroutine and release a lock once it is saved.
 * @mp: The M, preemption off.
 * @lock: Lock that protects the wait list the goroutine is on.
 * @reason: For dumps.
 *
 * Return: the M it goes on with, preemption off.
 */
static inline struct m *kr_park_unlock(struct m *mp, uint32_t *lock,
				       const char *reason)
{
	WRITE_ONCE(mp->curg->wait_reason, reason);
	return kr_switch_out(mp, kr_post_unlock, lock);
}

/* g.c */
/* Get a G, from the M's P or the pool; or NULL. It has no stack yet. */
struct g *kr_g_alloc(struct m *mp);
void kr_g_free(struct m *mp, struct g *gp);
/* From kr_g_alloc() and never prepared. */
void kr_g_unalloc(struct m *mp, struct g *gp);
/* About to run for the first time: it gets a stack. */
void kr_g_begin(struct m *mp, struct g *gp);
/* It has ended and left its stack, which somebody else may have. */
void kr_g_strip(struct m *mp, struct g *gp);
uint64_t kr_goid_next(struct m *mp);
/* Dead Gs and stacks that nobody uses any more at @pp go to the pools. */
void kr_gfree_flush(struct p *pp);
/* @gp counts and is RUNNABLE: the caller puts it into a queue. */
void kr_g_prepare(struct m *mp, struct g *gp);
/* Make @gp runnable for the first time. */
void kr_g_start(struct m *mp, struct g *gp);

/* preempt.c */
struct kr_frame;
void kr_preempt_upcall(struct m *mp, struct kr_frame *frame);
struct m *kr_preempt_resumed(void);
int kr_preempt_init(struct m *mp);

/**
 * kr_offer() - Say which P the M of a goroutine is about to be given.
 * @gp: A locked goroutine that the caller has taken from a queue.
 * @pp: The P.
 * @owner: Its owner word before the gift.
 *
 * Before the gift itself: the M compares.
 */
void kr_offer(struct g *gp, const struct p *pp, uint64_t owner);
/* The gift failed. Return: false if the module gave the same P meanwhile. */
bool kr_offer_retract(struct g *gp, const struct p *pp, uint64_t owner);

/**
 * kr_wait_locked() - Wait for the P with which a locked goroutine goes on.
 * @mp: The goroutine's M, which has no P.
 * @gp: The goroutine, which has been put into the global queue.
 * @given: A P that the M has been given already, or NULL.
 *
 * Context: any stack, preemption off.
 */
void kr_wait_locked(struct m *mp, struct g *gp, struct p *given);
extern char kr_tramp[], kr_tramp_resume[], kr_tramp_end[];
/* asm/barrier.S: goes on at the beginning when it is preempted. */
extern char kr_tell[], kr_tell_end[];

/* service.c */
bool kr_give_to_locked(struct p *pp, uint64_t owner);
/* Make the first Ms and wait until they are there. */
int kr_service_start(void);
/* Serve until main has ended. Return: its status. */
int kr_service_run(void);
/* So many idle Ms are never too many. */
static inline uint32_t kr_keep_ms(void)
{
	return 2 * (kr_nr_procs() + 2);
}
/* There are more: have the spawner see to it. Any context. */
void kr_spawner_reap(void);
/* Have the spawner poke the service after @delay_ns. Any context. */
void kr_spawner_poke_later(uint64_t delay_ns);
/* Have the spawner call kr_follow_look(). Any context. */
void kr_spawner_look(void);
/* Have it call sched.finalize. Any context. */
void kr_spawner_finalize(void);
/* Have it call sched.make_helpers. Any context. */
void kr_spawner_helpers(void);
/* Main's goroutine returned @status. Preemption is off. */
void kr_main_ended(int status);
/* Memory has come back that may be given to the system after a while. */
void kr_trim_hint(void);
/* Make the M of the calling thread. Not on a goroutine. */
struct m *kr_m_alloc(void);

/* local.c */
/* The goroutine ends: destroy its values. Its own stack, preemption on. */
void kr_locals_end(struct g *gp);

/* rcu.c */
struct g_slab;
void kr_registry_add(struct g_slab *slab);
/* All there are, one after the other: NULL is before the first. */
struct g_slab *kr_registry_next(struct g_slab *slab);
/* Call @fn for each goroutine object that has been used, dead ones included. */
int kr_registry_for_each(int (*fn)(struct g *gp, void *arg), void *arg);

#endif /* KR_SCHED_SCHED_H */
