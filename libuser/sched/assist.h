/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist: what the scheduler needs from outside user space, as one table
 * with two implementations. assist_module.c is a thin layer over /dev/kaus;
 * assist_signal.c does the same with futexes, signals and a sysmon thread. The
 * one in use may change at any time (attach.c); an operation of the other one
 * does the same then.
 *
 * The pool of idle Ms belongs to the assist (doc/design/protocols.md).
 */
#ifndef KR_SCHED_ASSIST_H
#define KR_SCHED_ASSIST_H

#include <stdbool.h>
#include <stdint.h>

struct m;
struct p;

struct kr_assist {
	const char *name;
	uint64_t default_slice_ns;
	bool binds;		/* Ms are bound to their P's CPU by default */
	bool needs_notice;	/* of sleeps in the kernel: sees them late */
	uint32_t nr_threads;	/* of its own, that run no goroutines */
	bool tells_on_cpu;	/* keeps kaus_worker.on_cpu */

	/**
	 * @init: Before any M exists. @region: the shared pages, with room for
	 * @max_procs and @nr_workers; sched.max_procs becomes less if the
	 * assist has not so much. For the module: -ENODEV etc. if it cannot be
	 * used.
	 */
	int (*init)(void *region, uint32_t nr_procs, uint32_t max_procs,
		    uint32_t nr_workers);
	/* @thread_start: First call on each M's own thread, service included. */
	int (*thread_start)(struct m *mp);
	/* @started: All is set up; helper threads may start. */
	int (*started)(void);
	/* @stop: Main has ended. */
	void (*stop)(void);

	/**
	 * @start: Give @pp, whose owner word is @owner, to an M of the pool.
	 * -EAGAIN: the pool is empty. -EBUSY: the word has changed.
	 */
	int (*start)(struct p *pp, uint64_t owner);
	/* @give: The same for one M by name, parked or about to park. */
	int (*give)(struct m *mp, struct p *pp, uint64_t owner);
	/* @wake: Without a P: one that parks returns, now or the next time. */
	void (*wake)(struct m *mp);

	/**
	 * @park: Sleep until given a P (*ret_p), woken (*ret_p == NULL) or the
	 * deadline (-ETIMEDOUT). @pool: may be given any P.
	 */
	int (*park)(struct m *mp, bool pool, uint64_t deadline_ns,
		    struct p **ret_p);
	/**
	 * @handoff: @give to @target, or @start if it is NULL, then @park
	 * without a deadline. Fails as those two without parking.
	 */
	int (*handoff)(struct m *mp, bool pool, struct m *target,
		       struct p *pp, uint64_t owner, struct p **ret_p);

	/**
	 * @kick: Send an M that is in a goroutine's code into the trampoline.
	 * Does not wait. It may turn out to have preemption off: then the event
	 * is in its slot.
	 */
	void (*kick)(struct m *mp);
	/**
	 * @is_off: After @kick: the thread is in the kernel, and will not come
	 * back from there to where it was, but to the trampoline; and what it
	 * has in registers is in mp->regs now.
	 */
	bool (*is_off)(struct m *mp);

	/* The service thread sleeps until poked. */
	void (*service_wait)(struct m *mp);
	void (*service_poke)(void);
	/* Work appeared: whoever polls must be awake. Cheap. */
	void (*busy)(void);
};

extern const struct kr_assist kr_assist_module;
extern const struct kr_assist kr_assist_signal;

#endif /* KR_SCHED_ASSIST_H */
