/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Shared by the two files of the fallback assist. */
#ifndef KR_SCHED_ASSIST_SIGNAL_H
#define KR_SCHED_ASSIST_SIGNAL_H

#define KR_PREEMPT_SIGNAL	SIGURG

int kr_sysmon_start(void);
void kr_sysmon_stop(void);
void kr_sysmon_busy(void);

#endif /* KR_SCHED_ASSIST_SIGNAL_H */
