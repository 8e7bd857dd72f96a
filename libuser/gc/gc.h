/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The collector: marking, cycles. What it guarantees and how: cycle.c. */
#ifndef KR_GC_GC_H
#define KR_GC_GC_H

#include <kaus/gc.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/regs.h"
#include "base/barrier.h"
#include "gc/work.h"
#include "mem/cache.h"
#include "sched/scan.h"
#include "sched/suspend.h"

struct m;

/* So many stores of a P are told before they are looked at. */
#define KR_GC_MAX_OLD	KR_SIZE(256, 2)

/* A plain thread whose stack counts, and which has a cache of its own. */
struct kr_gc_thread {
	struct kr_suspend suspend;
	struct kr_cache *cache;
	bool due;		/* it shall collect when it is no longer busy */
	uint8_t nr_holds;	/* but not while it holds what a cycle needs */
	struct kr_gc_thread *next;
	uintptr_t stack_hi;
	bool in_use;
	/* The one that collects, or sits in kaus_run(): its own registers. */
	bool knows_regs;
	struct kr_regs regs;
};

/* ---- mark.c ---- */

/* Words from @lo to before @hi may be references. */
void kr_mark_range(struct kr_marker *mk, const void *lo, const void *hi);
/* The same, and most of them are none, as in variables. */
void kr_mark_sparse(struct kr_marker *mk, const void *lo, const void *hi);
/*
 * Some of the roots that are not looked at in the stop that begins a cycle:
 * goroutines, timers, what finalizers need. As kr_scan_some(). Return: how much
 * work that was, as of objects; 0: nothing is left, or others are at it.
 */
uint64_t kr_mark_some_roots(struct kr_marker *mk);
/* The same from the beginning: all of them are left. The world is stopped. */
void kr_mark_roots_begin(void);
/* Some is left. */
bool kr_mark_roots_left(void);
/* As kr_scan_defer(). */
void kr_mark_defer(struct kr_marker *mk);
/* A goroutine is about to run: sched.scan_first(). */
void kr_mark_first(struct kr_marker *mk, struct g *gp);
/* What @word points to, if it does. */
void kr_mark_word(struct kr_marker *mk, uintptr_t word);
/* What threads refer to, and with @all not only they but goroutines, too, that
 * an M has left in mid code: kr_scan_stopped().
 */
void kr_mark_stacks(struct kr_marker *mk, bool all);
/* Mark until nothing is left to take. */
void kr_mark_drain(struct kr_marker *mk);
/* Or until @budget bytes have been scanned. Return: about so many were. */
uint64_t kr_mark_some(struct kr_marker *mk, uint64_t budget);

/*
 * What marked objects refer to from @lo to before @hi, addresses of the heap.
 * Nothing is swept meanwhile. Return: bytes of these in which there may be any.
 */
size_t kr_mark_again(struct kr_marker *mk, const char *lo, const char *hi);

/* What @obj refers to, with @but_self without pointers into itself. */
void kr_mark_contents(struct kr_marker *mk, const void *obj, bool but_self);
/* The same, a piece at a time: it waits as if the object were marked. */
void kr_mark_inside(struct kr_marker *mk, struct kr_span *s, uint32_t index);

/* ---- thread.c ---- */

/* The calling thread's, if it may allocate by itself. */
extern __thread struct kr_gc_thread *kr_tls_plain
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/**
 * kr_plain_enter() - What kr_enter() is, for plain threads that allocate.
 *
 * A registered thread is not suspended until kr_plain_leave(), others hold
 * kr_outside_lock().
 *
 * Return: the cache to use, or NULL: no memory, and nothing to leave.
 */
static inline struct kr_cache *kr_plain_enter(void)
{
	struct kr_gc_thread *t = kr_tls_plain;

	if (unlikely(!t))
		return kr_outside_lock();
	WRITE_ONCE(t->suspend.busy, 1);
	barrier();
	return t->cache;
}

/* The note that the handler has left, or what is due. */
void kr_plain_leave_slow(struct kr_gc_thread *t);

static inline void kr_plain_leave(void)
{
	struct kr_gc_thread *t = kr_tls_plain;

	if (unlikely(!t)) {
		kr_outside_unlock();
		return;
	}
	barrier();
	WRITE_ONCE(t->suspend.busy, 0);
	barrier();
	if (unlikely(READ_ONCE(t->suspend.late) || READ_ONCE(t->due)))
		kr_plain_leave_slow(t);
}

/* The calling thread's, or NULL. */
struct kr_gc_thread *kr_gc_thread_self(void);
int kr_gc_thread_add(void);
int kr_gc_thread_del(void);
/* In a child of fork(), whose only thread is the caller: were there others? */
bool kr_gc_threads_forked(void);
/*
 * The calling thread's registers are @regs for a while, and it touches no
 * object. Return: true if it was not registered before.
 */
bool kr_gc_thread_rests(const struct kr_regs *regs);
void kr_gc_thread_rests_no_more(bool added);
/* All but the caller's are suspended; waits for them. And back. */
void kr_gc_threads_suspend(const struct kr_gc_thread *self);
void kr_gc_threads_resume(const struct kr_gc_thread *self);
void kr_gc_threads_scan(kr_scan_fn fn, void *arg);

/* ---- cycle.c ---- */

/* KAUS_GC_CONCURRENT: what marks while the program runs. */
enum kr_gc_mode {
	KR_GC_STOP,		/* nothing */
	KR_GC_TOLD,		/* with the barrier */
	KR_GC_PAGES,		/* remark.c, if it is possible */
	KR_GC_PAGES_IF_LONG,	/* that, if a stop would be long */
	KR_GC_NR_MODES,
};

/* Settings of the environment; before the first M starts. */
struct kr_gc_settings {
	int64_t percent;
	uint64_t limit_bytes;
	bool no_data;		/* data segments are no roots */
	bool trace;
	uint32_t concurrent;	/* enum kr_gc_mode */
	const char *pages;	/* kr_remark_init() */
	uint32_t check;
	bool poison;
	int huge_pages;		/* -1: as the kernel does it for everybody */
	uint64_t heap_profile_rate;	/* bytes to a sample; 0: off */
};

/* With or without the runtime, by whoever is first; others change nothing. */
void kr_gc_init(const struct kr_gc_settings *set, uint32_t nr_procs);

/*
 * A plain thread may collect: the runtime runs or has never been started. In a
 * child of fork() that had one, or other threads, none may.
 */
bool kr_gc_is_possible(void);
bool kr_gc_is_on(void);
/* In a child of fork(). */
void kr_gc_forked(void);
/* api/gc.c: kr_gc_init() without a runtime. 0 or -errno. */
int kr_gc_start(void);

/**
 * kr_gc_collect() - One whole cycle, or what is due of one.
 * @mp: The M, preemption off, or NULL on a plain thread that is registered.
 * @forced: A whole one, also if the heap has not reached the trigger.
 *
 * Stops the world. Context: the caller holds no lock.
 *
 * Return: the M it goes on with, as of all functions here that do.
 */
struct m *kr_gc_collect(struct m *mp, bool forced);

/* Others want this P, or the world is to stop: let them. Context: as above. */
struct m *kr_gc_give_way(struct m *mp);

/* Sweep what the last cycle has left. Context: as kr_gc_collect(). */
struct m *kr_gc_sweep_all(struct m *mp);

/* ---- limit.c ---- */

/* The control group may have so much memory; UINT64_MAX: as much as it likes. */
void kr_gc_limit_follow(uint64_t bytes);
/* A cycle has ended. @mp: the M, preemption off, or NULL on a plain thread. */
void kr_gc_limit_look(struct m *mp);
void kr_gc_limit_handler_set(void (*fn)(void *arg), void *arg);
/* Once in a while: has there been no cycle for too long? */
void kr_gc_period_look(void);
/* KAUS_GC_LIMIT by the program, which nothing changes from now on. */
int kr_gc_limit_set(int64_t value);

/* ---- cycle.c ---- */

bool kr_gc_is_due(void);
void kr_gc_read_stats(struct kaus_gc_stats *st);
int kr_gc_set(enum kaus_gc_setting what, int64_t value);
/* Memory that counts against the limit and is no object. */
void kr_gc_set_other(uint64_t bytes);
int64_t kr_gc_get(enum kaus_gc_setting what);
void kr_gc_read_pacer(struct kaus_gc_pacer *ret);

/* ---- barrier.c ---- */

/* kr_heap_ops.copy */
void kr_gc_copy(void *to, const void *from, size_t bytes);

#endif /* KR_GC_GC_H */
