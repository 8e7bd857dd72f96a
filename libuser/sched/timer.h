/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Timers, kept in a queue of the P on which they were armed. */
#ifndef KR_SCHED_TIMER_H
#define KR_SCHED_TIMER_H

#include <linux/kaus.h>
#include <stdbool.h>
#include <stdint.h>

struct g;
struct m;
struct kr_timer;

/*
 * What a timer does when it is due: return a goroutine that is to run, WAITING
 * or fresh from kr_g_prepare(), or NULL. Called with the timer's P locked, so
 * that whoever has stopped the timer may free it; may not touch timers, or take
 * locks under which others do.
 */
typedef struct g *(*kr_fire_fn)(struct m *mp, struct kr_timer *t);

struct kr_timer {
	kr_fire_fn fire;
	uint64_t period_ns;	/* 0: fires once */
	/* timer_lock of the P; proc is read without it. */
	uint32_t proc;		/* P + 1 in whose queue it is; 0: in none */
	uint32_t slot;		/* its entry in that queue's table */
};

/**
 * kr_timer_start() - Arm a timer that is not armed.
 * @mp: The caller's M with preemption off, or NULL on a plain thread.
 * @t: The timer; its fire and period are set.
 * @when_ns: Absolute, as kr_time_now_ns() counts.
 */
void kr_timer_start(struct m *mp, struct kr_timer *t, uint64_t when_ns);

/**
 * kr_timer_stop() - Disarm a timer.
 * @t: The timer.
 *
 * Return: true if it was armed. Either way it is not firing any more and may
 * be freed.
 */
bool kr_timer_stop(struct kr_timer *t);

/*
 * Fire some of what is due on @pp; the goroutines go to the queue of @mp's P.
 * If it fires any that start nothing it goes on until one does.
 */
struct p;
void kr_timers_run(struct m *mp, struct p *pp, uint64_t now_ns);
/* Only one that starts a goroutine, which the caller is to run; or NULL. */
struct g *kr_timers_run_one(struct m *mp, struct p *pp, uint64_t now_ns);

/* All timers of @from, a P that goes away, are @to's. resize.c calls this. */
void kr_timers_move(struct p *from, struct p *to);

/* Earliest timer of all Ps, UINT64_MAX if there is none. */
uint64_t kr_timers_next(void);

/* For virtual.c: the same from the queues; and show the Ps' holders what is due. */
uint64_t kr_timers_first(void);
void kr_timers_publish(void);

#endif /* KR_SCHED_TIMER_H */
