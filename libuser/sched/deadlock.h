/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Noticing that nothing will ever happen again. */
#ifndef KR_SCHED_DEADLOCK_H
#define KR_SCHED_DEADLOCK_H

#include <stdbool.h>

/* Before any plain thread calls the library. */
void kr_deadlock_init(void);

/*
 * The runtime's threads are told from the program's by their number alone. Who
 * makes one says so before it is counted, and again once it is there or is not
 * counted any more; who ends says so before it is left out.
 */
void kr_deadlock_thread_comes(void);
void kr_deadlock_thread_came(void);
void kr_deadlock_thread_goes(void);

/* An M is about to park and all Ps are idle; sched.lock is not held. */
void kr_deadlock_hint(void);

/*
 * The service thread was poked: if time is virtual and nothing runs, it jumps.
 * True if it did.
 */
bool kr_deadlock_pass_time(void);

/* The same: if it is a deadlock, report and exit. */
void kr_deadlock_check(void);

#endif /* KR_SCHED_DEADLOCK_H */
