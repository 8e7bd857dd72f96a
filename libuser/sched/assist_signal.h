/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Shared by the two files of the fallback assist. */
#ifndef KR_SCHED_ASSIST_SIGNAL_H
#define KR_SCHED_ASSIST_SIGNAL_H

#include <stdbool.h>
#include <stdint.h>

struct m;
struct p;

#define KR_PREEMPT_SIGNAL	SIGURG

/* assist_signal.c: where the two assists meet; see attach.c. */

int kr_preempt_signal_install(void);
/* From one epoch to another. False: it has changed already. */
bool kr_pool_set_epoch(uint32_t old, uint32_t epoch);
/* @mp is a worker of @epoch now. @carried: the P it has, or NULL. */
void kr_pool_join(struct m *mp, uint32_t epoch, const struct p *carried);
/* The thread of @mp ends; what it was given and did not fetch is for others. */
void kr_pool_leave(struct m *mp);
/* What @mp has been given in user space; false: nothing, not even a token. */
bool kr_pool_fetch(struct m *mp, struct p **ret_p);
bool kr_service_token_take(void);

int kr_sysmon_start(void);
void kr_sysmon_stop(void);
void kr_sysmon_busy(void);
/* The module has gone. */
void kr_sysmon_wake(void);

#endif /* KR_SCHED_ASSIST_SIGNAL_H */
