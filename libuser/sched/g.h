/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A goroutine. */
#ifndef KR_SCHED_G_H
#define KR_SCHED_G_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

#include "arch/context.h"
#include "base/barrier.h"
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

/*
 * How kaus_spawn() and kaus_join() meet: one word, g.join. Whoever joins writes
 * itself over OPEN, when it is parked, or over ENDED; there it stays until the
 * goroutine is used again. With a deadline, and on a plain thread, a struct
 * kr_wait is written in its place, by those who hold g.join_lock: see join.c.
 */
enum g_join {
	JOIN_MARK = 1,		/* in all but a struct g */
	JOIN_NONE = 1,		/* made by kaus_go(): nobody joins */
	JOIN_OPEN = 3,		/* joinable, still running */
	JOIN_ENDED = 5,		/* ended, g.ret_value is valid */
	JOIN_TAKEN = 7,		/* ended and joined by means of a kr_wait */
	/* Else the struct g that joins, or with JOIN_MARK a struct kr_wait. */
};

#define KR_NAME_BYTES	24	/* with the null at the end */

/* How it is laid out, and why, is checked by tests/unit/test_layout.c. */
struct g {
	/* What a switch needs: one cache line. Whoever runs or schedules it. */
	struct kr_context ctx;		/* saved.sp is NULL until it first runs */
	uint8_t state;
	bool blocking:1;		/* between kaus_block_begin() and end */
	bool named:1;			/* name is not empty */
	uint16_t nopreempt;		/* nested; others look at it */
	int saved_errno;
	/* Not NULL: does not run and may go on only on this M, as it was
	 * stopped in mid code or asked for it (kaus_lock_thread()).
	 */
	struct m *lockedm;
	struct kr_stack stack;		/* NULLs until it first runs */

	/* What a life needs besides: another line. */
	uint64_t goid;
	void (*fn)(void *arg);		/* kaus_go() */
	void *(*spawn_fn)(void *arg);	/* kaus_spawn() */
	union {
		void *arg;		/* until it runs */
		void *ret_value;	/* when it has ended */
	};
	uintptr_t join;			/* enum g_join, or who joins */
	struct g *next;			/* in one list: free ones, a wait list */
	const char *wait_reason;	/* valid while it waits */
	void **locals;			/* kaus_local_set(); NULL: none yet */

	/* What most do without. Takers of the global queue, who joins. */
	uint64_t offer;			/* P on its way to lockedm, or 0 */
	struct cds_wfcq_node gq_node;	/* in the global queue */
	uint32_t gq_claim;		/* enum g_claim */
	uint32_t gq_nr;			/* the so manieth that was put there */
	bool is_back;			/* from the kernel; put there as such */
	uint32_t join_lock;		/* join is, or may become, a kr_wait */
	char name[KR_NAME_BYTES];	/* kaus_set_name() */
	struct m *scan_m;		/* if it is that one's curg: scan.c */
	uint32_t scanned;		/* in which cycle of the collector: scan.c */
} KR_PAIR_ALIGNED;

/* The name as it is at the moment: the goroutine may be changing it. */
static inline void kr_g_name(const struct g *gp, char name[KR_NAME_BYTES])
{
	for (int i = 0; i < KR_NAME_BYTES - 1; i++)
		name[i] = READ_ONCE(gp->name[i]);
	name[KR_NAME_BYTES - 1] = 0;
}

#endif /* KR_SCHED_G_H */
