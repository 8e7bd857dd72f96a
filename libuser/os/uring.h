/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A ring of io_uring, by way of liburing. One thread makes it, queues, enters
 * and takes; others may poke it.
 */
#ifndef KR_OS_URING_H
#define KR_OS_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum kr_uring_op {
	KR_URING_READ,
	KR_URING_WRITE,
	KR_URING_SYNC,
};

struct kr_uring_call {
	enum kr_uring_op op;
	int fd;
	struct iovec iov;
	uint64_t offset;
};

/* As many calls as that may be on their way at once. */
#define KR_URING_CALLS	256

/* Would kr_uring_open() succeed? Any thread. */
bool kr_uring_is_there(void);

/* 0, or -errno: the kernel, or whoever confines the process, allows none. */
int kr_uring_open(void);

/* @data, not NULL, comes back with the result. At most KR_URING_CALLS. */
void kr_uring_queue(const struct kr_uring_call *call, void *data);

/* To the kernel with what is queued; wait for a result, or for a poke. */
void kr_uring_enter(bool wait);

/* One that is done, what the call returns or -errno; NULL: none. */
void *kr_uring_take(int *ret_result);

/* Have kr_uring_enter() return. Any thread; never waits. */
void kr_uring_poke(void);

#endif /* KR_OS_URING_H */
