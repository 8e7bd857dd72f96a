/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* An M: a thread that runs goroutines. A "worker" to the module. */
#ifndef KR_SCHED_M_H
#define KR_SCHED_M_H

#include <linux/kaus.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/context.h"
#include "arch/regs.h"
#include "base/barrier.h"
#include "base/compiler.h"
#include "offsets.h"
#include "sched/suspend.h"

struct g;
struct kr_frame;
struct kr_gc_told;
struct m;
struct p;

/* What the next context does for the one that left; see kr_switch_out(). */
typedef void (*kr_post_fn)(struct m *mp, struct g *gp, void *arg);

/* m.at_rest: where the registers of its goroutine are, which has no P. */
enum kr_rest {
	KR_REST_NONE,			/* not known, unless m.frame is set */
	KR_REST_REGS,			/* m.regs: waits in the runtime */
	KR_REST_KERNEL,			/* m.regs: asleep in a system call */
	KR_REST_SUSPENDED,		/* m.suspend: in an announced sleep */
};

/* Whom a spinner has caught with a goroutine in the runnext seat, and when. */
struct kr_seated {
	const struct p *victim;
	uint64_t nr_switches;
	uint64_t since_ns;
};

struct m {
	/* The assembly knows these: asm/offsets.h. */
	struct kaus_worker *slot;
	void *xsave;			/* extended state while preempted */
	uint64_t xsave_kind;
	struct kr_gc_told *told;	/* the collector's: gc/barrier.c */
	struct kr_context g0;		/* the M's loop, on the thread's stack */

	/* The M's own. */
	uint32_t id;			/* worker index */
	struct p *p;			/* what it carries; see kr_enter() */
	uint64_t owner;			/* the owner word that says so */
	struct g *curg;			/* what runs on it; stays when preempted */
	struct g *nextg;		/* for the loop: run this */
	struct g *lockedg;		/* kaus_lock_thread(): runs no other */
	uint32_t nr_thread_locks;
	kr_post_fn post;
	struct g *post_g;
	void *post_arg;
	bool spinning;
	struct kr_seated seated;	/* in steal() */
	uint32_t nr_fired;		/* timers, since it slept */
	bool pooled;			/* counted in sched.nr_pooled */
	bool ending;			/* if it is not needed; by the spawner */
	uint32_t idle_round;		/* reap_round when it became pooled */
	uint32_t bound_cpu;		/* pinned to, or KAUS_NONE */
	uint32_t home;			/* P carried last: whose pool to wait in */
	uint64_t nr_lost;
	int *errno_addr;		/* of its thread */
	int tid;			/* 0: no thread, waits to be used again */
	int last_tid;			/* of the thread before, or 0 */
	unsigned int nr_looks;		/* whether that is gone */
	void *altstack;			/* that it has made, or NULL */
	struct m *free_next;

	/* For those who stop the world to find references: scan.c. */
	struct kr_frame *frame;		/* while it is in the trampoline */
	struct kr_regs regs;
	uint32_t at_rest;		/* enum kr_rest */
	uint32_t xsave_bytes;
	bool announced;			/* fallback only: in a sleep */
	struct kr_suspend suspend;

	/*
	 * Without the module. Parking; written under pool.lock,
	 * assist_signal.c. token is a futex: 1 = woken.
	 */
	uint32_t token KR_PAIR_ALIGNED;
	uint32_t epoch;			/* in which it is a worker, or was */
	struct p *grant;		/* P given while parked */
	struct m *pool_next;
	bool in_pool;
	bool parked;

	/* Fallback only: sysmon's note for Ms without their P. */
	uint64_t seen_cpu_ns;
} KR_PAIR_ALIGNED;

_Static_assert(offsetof(struct m, slot) == M_SLOT, "M_SLOT");
_Static_assert(offsetof(struct m, g0.saved.sp) == M_G0_SP, "M_G0_SP");
_Static_assert(offsetof(struct m, told) == M_TOLD, "M_TOLD");
_Static_assert(offsetof(struct m, xsave) == M_XSAVE, "M_XSAVE");
_Static_assert(offsetof(struct m, xsave_kind) == M_XSAVE_KIND, "M_XSAVE_KIND");
_Static_assert(offsetof(struct kaus_worker, defer) == KW_DEFER, "KW_DEFER");
_Static_assert(offsetof(struct kaus_worker, saved_ip) == KW_SAVED_IP,
	       "KW_SAVED_IP");
_Static_assert(offsetof(struct kaus_worker, busy) == KW_BUSY, "KW_BUSY");

extern __thread struct m *kr_tls_m;

/**
 * kr_self() - The M that runs the caller, or NULL on a foreign thread.
 *
 * Read anew each time: after a switch the caller may be on another thread,
 * and a compiler is allowed to remember the address of a TLS variable.
 */
static inline struct m *kr_self(void)
{
	struct m *mp;

	__asm__ __volatile__("movq kr_tls_m@gottpoff(%%rip), %0\n\t"
			     "movq %%fs:(%0), %0" : "=&r"(mp));
	return mp;
}

#endif /* KR_SCHED_M_H */
