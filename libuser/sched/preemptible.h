/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Where the code is whose preemption needs no thread: see preempt.c. */
#ifndef KR_SCHED_PREEMPTIBLE_H
#define KR_SCHED_PREEMPTIBLE_H

#include <stdbool.h>
#include <stdint.h>

/* 0, -EINVAL, -ENOSPC. Any thread. */
int kr_preemptible_add(uintptr_t start, uintptr_t end);

/* Any context, a signal handler included. */
bool kr_is_preemptible(uintptr_t ip);

#endif /* KR_SCHED_PREEMPTIBLE_H */
