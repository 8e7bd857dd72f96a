/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The loop around a system call that may have to wait. */
#ifndef KR_NET_IO_H
#define KR_NET_IO_H

#include "os/io.h"
#include "sched/netpoll.h"

/* Try once; -EAGAIN: wait and try again. */
typedef int64_t (*kr_try_fn)(struct kr_pollfd *pd, void *arg);

/**
 * kr_io_on() - Try until it is done.
 * @pd: The descriptor, with a reference.
 * @dir: What to wait for.
 * @deadline_ns: Absolute CLOCK_MONOTONIC; that of the descriptor counts too.
 * @try: What to do.
 * @arg: Passed to @try.
 *
 * Return: what @try returned, but for -EAGAIN and -EINTR, or an error of
 * waiting.
 */
int64_t kr_io_on(struct kr_pollfd *pd, enum kr_poll_dir dir,
		 uint64_t deadline_ns, kr_try_fn try, void *arg);

/* The same by handle, without a deadline of its own. */
int64_t kr_io(int64_t handle, enum kr_poll_dir dir, kr_try_fn try, void *arg);

#endif /* KR_NET_IO_H */
