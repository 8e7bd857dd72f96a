/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist: what the scheduler needs from outside user space, as one table
 * with two implementations. assist_module.c is a thin layer over /dev/kaus;
 * assist_signal.c does the same with futexes, signals and a sysmon thread.
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

	/**
	 * @init: Before any M exists. @region, @len: the shared pages. For the
	 * module: -ENODEV etc. if it cannot be used.
	 */
	int (*init)(void *region, uint64_t len, uint32_t nr_procs,
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
	/* @wake: Wake one M without a P. */
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

	/* The service thread sleeps until poked. */
	void (*service_wait)(struct m *mp);
	void (*service_poke)(void);
	/* Work appeared: whoever polls must be awake. Cheap. */
	void (*busy)(void);
};

extern const struct kr_assist kr_assist_module;
extern const struct kr_assist kr_assist_signal;

#endif /* KR_SCHED_ASSIST_H */
