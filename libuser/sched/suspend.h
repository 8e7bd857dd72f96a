/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Stopping a thread by a signal while the world is stopped: suspend.c. */
#ifndef KR_SCHED_SUSPEND_H
#define KR_SCHED_SUSPEND_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define KR_SUSPEND_SIGNAL	SIGPWR

/* A thread that can be suspended. */
struct kr_suspend {
	uint32_t state;		/* enum, suspend.c; futex */
	int tid;
	/*
	 * Nonzero: not now. The thread's own; whoever sets it to zero looks at
	 * @late, and if that is set calls kr_suspend_late().
	 */
	uint32_t busy;
	bool late;
	const void *frame;	/* what the signal left, while suspended */
	uintptr_t frame_end;
	uintptr_t sp;
};

int kr_suspend_init(void);

/* The calling thread can be suspended from now on; NULL: no longer. */
void kr_suspend_register(struct kr_suspend *s);

/* The signal has come while the calling thread was busy: now it may. */
void kr_suspend_late(struct kr_suspend *s);

/* Ask; does not wait. Again and again: a request under way stays one. */
void kr_suspend_ask(struct kr_suspend *s);
/* Is it suspended? Then @s->frame and sp are valid until kr_suspend_end(). */
bool kr_suspend_is_done(const struct kr_suspend *s);
/* Go on. Also for one that has been asked and has not noticed yet. */
void kr_suspend_end(struct kr_suspend *s);

#endif /* KR_SCHED_SUSPEND_H */
