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

#define KR_MAX_WORKERS	1024

struct kr_sched {
	/* Fixed before the first M starts. */
	const struct kr_assist *assist;
	struct kaus_header *hdr;
	struct p **allp;
	uint32_t nr_procs;
	uint32_t max_ms;
	uint64_t slice_ns;		/* 0: the assist's default */
	bool bind;

	/* Flags, plain. */
	bool running;			/* between start-up and the end of main */
	bool stopping;			/* main has ended: Ms stop */
	int main_status;
	uint32_t main_done;		/* futex */

	/* Counters that every M changes. */
	uint32_t nr_spinning KR_PAIR_ALIGNED;
	uint32_t nr_idle KR_PAIR_ALIGNED;
	uint32_t nr_pooled;		/* Ms in the pool or on their way */
	uint32_t nr_started;		/* Ms that have registered; futex */
	uint64_t next_goid KR_PAIR_ALIGNED;
	uint64_t nr_gs_outside;		/* made by threads that are no M */
	uint64_t nr_handoffs;		/* done here; others in the slots */

	/* lock */
	uint32_t lock KR_PAIR_ALIGNED;
	struct p *idle_ps;
	struct p *pending_ps;		/* have work, lack an M: the service's */
	struct g *gfree;
	struct m *timekeeper;		/* idle M that sleeps until tk_ns */
	uint64_t tk_ns;

	/* Ms by worker index; appended by the service thread only. */
	uint32_t nr_ms KR_PAIR_ALIGNED;
	struct m *allm[KR_MAX_WORKERS];

	/*
	 * The global queue. Anybody puts, wait-free (urcu's wfcqueue); takers
	 * hold gq_lock. Its length is hdr->nr_global, which the module reads.
	 */
	struct cds_wfcq_tail gq_tail KR_PAIR_ALIGNED;
	struct cds_wfcq_head gq_head KR_PAIR_ALIGNED;
	uint32_t gq_lock;
};

extern struct kr_sched sched;

/* proc.c: the loop */

void kr_proc_init(void);
void kr_m_loop(struct m *mp) KR_NORETURN;
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
void kr_publish_stack(struct m *mp, const struct g *gp);

/* Make another P busy if one is idle and nobody is looking for work yet. */
void kr_wakep_slow(void);
static inline void kr_wakep(void)
{
	/* Pairs with the idle side of kr_find_runnable(): the caller's queue
	 * store was a locked operation, so this load is not early.
	 */
	if (READ_ONCE(sched.nr_idle) ||
	    READ_ONCE(sched.hdr->sleeping[0]) || sched.nr_procs > 64)
		kr_wakep_slow();
}

/* The module sees a new slice begin when the tick changes. */
static inline void kr_new_slice(struct p *pp)
{
	WRITE_ONCE(pp->slot->sched_tick, ++pp->sched_tick);
}

/* End the running goroutine; @mp as from kr_enter(). */
void kr_g_end(struct m *mp) KR_NORETURN;

/* Let others run if there are any. Return: the M it goes on with. */
struct m *kr_yield(struct m *mp);

/* The next goroutine for a P, without blocking or spinning; or NULL. */
struct g *kr_find_quick(struct m *mp);

/* proc.c: Ps */
uint64_t kr_owner(const struct p *pp);
/**
 * kr_owner_cas() - Change the owner word, as its holder if it is RUNNING.
 *
 * The fallback's sysmon turns a word to STOPPED while it finds out whether the
 * holder has preemption off (sysmon.c); the holder may turn it back any time.
 *
 * Return: false if it is not @old.
 */
bool kr_owner_cas(struct p *pp, uint64_t old, uint64_t new);
/* sched.lock held: an IDLE P joins the list. */
void kr_idle_put_locked(struct p *pp);
/* Take an idle P off the list, or NULL. */
struct p *kr_idle_get(void);
/* An idle P that came off the list is now @mp's. */
void kr_p_acquire(struct m *mp, struct p *pp);
/* @mp has been given @pp by its owner word. */
void kr_p_take(struct m *mp, struct p *pp);
/* @mp no longer carries its P; the owner word is not touched. */
void kr_p_drop(struct m *mp);
/* RUNNING -> IDLE, not on the idle list. */
void kr_p_release(struct m *mp, struct p *pp);
/* An idle P that has work and no M waits for the next one. */
void kr_pending_put(struct p *pp);
/* A P is SLEEPING no more: clear its hint. */
void kr_sleeping_clear(const struct p *pp);
/* The same, because it was given to another M; counts the hand-off. */
void kr_sleeping_taken(const struct p *pp);
/* Find an M for an idle P that came off the list. */
void kr_p_start(struct p *pp);
/* Somebody waits for this P, or a timer of it is due. */
bool kr_p_needs_m(const struct p *pp);

/**
 * kr_reacquire() - Get a P for a goroutine that lost its own in the kernel.
 * @mp: The M, preemption off, its goroutine in mp->curg.
 *
 * May block the thread until a P is free. Context: any stack.
 */
void kr_reacquire(struct m *mp);

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
	barrier();
	WRITE_ONCE(mp->slot->defer, 0);
	barrier();
	if (unlikely(READ_ONCE(mp->slot->events)))
		kr_exit_slow();
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
	return *ret_mp || READ_ONCE(sched.running);
}

static inline void kr_exit_any(struct m *mp)
{
	if (mp)
		kr_exit(mp);
}

/* runq.c */
void kr_runq_put(struct m *mp, struct g *gp, bool next);
struct g *kr_runq_get(struct p *pp, bool *ret_inherit);
struct g *kr_runq_steal(struct p *pp, struct p *victim, bool steal_next);
void kr_globq_init(void);
/* Any thread; wait-free. */
void kr_globq_put(struct g *gp);
/* Take back an entry that nobody has taken yet; see enum g_claim. */
bool kr_globq_cancel(struct g *gp);
/* @pp: P whose queue takes what fits beyond the first, or NULL: one only. */
struct g *kr_globq_get(struct p *pp);

/* park.c */

/**
 * kr_park_unlock() - Park the goroutine and release a lock once it is saved.
 * @mp: The M, preemption off.
 * @lock: Lock that protects the wait list the goroutine is on.
 * @reason: For dumps.
 *
 * Return: the M it goes on with, preemption off.
 */
struct m *kr_park_unlock(struct m *mp, uint32_t *lock, const char *reason);

/**
 * kr_ready() - Make a parked goroutine runnable.
 * @mp: The caller's M with preemption off, or NULL on a plain thread.
 * @gp: The goroutine; nobody else makes it ready.
 */
void kr_ready(struct m *mp, struct g *gp);

/* g.c */
/* Get a G with a stack, from the M's P, the global list or new; or NULL. */
struct g *kr_g_alloc(struct m *mp);
void kr_g_free(struct m *mp, struct g *gp);
uint64_t kr_goid_next(struct m *mp);
/* Make @gp runnable for the first time. */
void kr_g_start(struct m *mp, struct g *gp);

/* timer.c */
/* Arm: @gp becomes ready at @when_ns. Its P is the M's. */
void kr_timer_add(struct m *mp, struct g *gp, uint64_t when_ns);
/* Make ready what is due on @pp, into the queue of @mp's P. */
void kr_timers_run(struct m *mp, struct p *pp, uint64_t now_ns);
/* Earliest timer of all Ps, UINT64_MAX if there is none. */
uint64_t kr_timers_next(void);

/* preempt.c */
struct kr_frame;
void kr_preempt_upcall(struct m *mp, struct kr_frame *frame);
int kr_preempt_init(struct m *mp);
extern char kr_tramp[], kr_tramp_end[];

/* service.c */
bool kr_give_to_locked(struct p *pp, uint64_t owner);
/* Make the first Ms and wait until they are there. */
int kr_service_start(void);
/* Serve until main has ended. Return: its status. */
int kr_service_run(void);
/* Main's goroutine returned @status. */
void kr_main_ended(int status);
/* Make the M of the calling thread. Not on a goroutine. */
struct m *kr_m_alloc(void);

/* rcu.c */
void kr_registry_add(struct g *gp);
/* Call @fn for each goroutine object ever made, dead ones included. */
int kr_registry_for_each(int (*fn)(struct g *gp, void *arg), void *arg);

#endif /* KR_SCHED_SCHED_H */
