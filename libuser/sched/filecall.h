/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Calls on files during which no thread sleeps. */
#ifndef KR_SCHED_FILECALL_H
#define KR_SCHED_FILECALL_H

#include <stdbool.h>
#include <stdint.h>

#include "os/uring.h"

/* Before goroutines run; @off: make no ring. */
void kr_filecall_init(bool off);

/**
 * kr_filecall() - Have a call made, and park until it is done.
 * @call: What; all that it points to stays as it is until then.
 *
 * The first one starts a thread.
 *
 * Context: not inside the runtime.
 * Return: what the call returns or -errno; -EAGAIN: make it yourself, there is
 * no ring, or not yet, or the caller is no goroutine.
 */
int64_t kr_filecall(const struct kr_uring_call *call);

/* Goroutines that are parked in kr_filecall(), and threads of its own. */
uint32_t kr_filecall_nr_pending(void);
uint32_t kr_filecall_nr_threads(void);

#endif /* KR_SCHED_FILECALL_H */
