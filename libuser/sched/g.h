/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A goroutine. */
#ifndef KR_SCHED_G_H
#define KR_SCHED_G_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>
#include <urcu/wfcqueue.h>

#include "arch/context.h"
#include "mem/stack.h"

struct m;

/*
 * IDLE -> RUNNABLE (kaus_go) -> RUNNING -> { RUNNABLE (yield, preempted),
 * WAITING (parked) -> RUNNABLE (ready), DEAD -> RUNNABLE (reused) }
 */
enum g_state {
	G_IDLE,
	G_RUNNABLE,
	G_RUNNING,
	G_WAITING,
	G_DEAD,
};

/*
 * Whose the entry in the global queue is. A preempted goroutine that goes on
 * after all cannot leave the middle of the queue: it cancels the entry, and the
 * next put revives it if no taker has dropped it meanwhile.
 */
enum g_claim {
	GQ_NONE,		/* not in the queue */
	GQ_QUEUED,
	GQ_CANCELLED,		/* entry is there but does not count */
};

/* How kaus_spawn() and kaus_join() meet; protected by g.join_lock. */
enum g_join {
	JOIN_NONE,		/* made by kaus_go(): nobody joins */
	JOIN_OPEN,		/* joinable, still running */
	JOIN_WAITING,		/* g.joiner is parked */
	JOIN_ENDED,		/* ended, g.ret_value is valid */
};

struct g {
	/* Written by whoever runs or schedules the G. */
	struct kr_context ctx;
	uint32_t state;
	int saved_errno;
	/* Not NULL: stopped in mid code, may go on only on this M. */
	struct m *lockedm;
	const char *wait_reason;
	struct kr_stack stack;

	/* Link in one list: a P's free list, a wait list. */
	struct g *next;
	struct cds_wfcq_node gq_node;	/* in the global queue */
	uint32_t gq_claim;		/* enum g_claim */

	/* Set when it is made. */
	uint64_t goid;
	void (*fn)(void *arg);		/* kaus_go() */
	void *(*spawn_fn)(void *arg);	/* kaus_spawn() */
	void *arg;

	uint32_t join_lock;
	uint32_t join;			/* enum g_join */
	struct g *joiner;
	void *ret_value;

	struct cds_list_head all_node;	/* the registry, sched/rcu.c */
};

#endif /* KR_SCHED_G_H */
