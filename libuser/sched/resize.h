/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The number of Ps, and which CPU each is bound to. */
#ifndef KR_SCHED_RESIZE_H
#define KR_SCHED_RESIZE_H

#include <stdint.h>

struct m;

/* Make the first @nr_procs Ps. The region is there, and no M. */
int kr_resize_init(uint32_t nr_procs);

/**
 * kr_resize() - Change the number of Ps, and bind them to the CPUs of today.
 * @mp: The caller's M, preemption off, or NULL on a plain thread.
 * @nr_procs: 1 to sched.max_procs; fixes the number, see follow.c.
 *
 * Stops the Ps meanwhile. The caller may have another P afterwards.
 *
 * Return: 0, -ENOMEM, or -EPERM if main has ended.
 */
int kr_resize(struct m *mp, uint32_t nr_procs);

/* The same for follow.c: nothing if the number has been fixed meanwhile. */
void kr_resize_follow(uint32_t nr_procs);

#endif /* KR_SCHED_RESIZE_H */
