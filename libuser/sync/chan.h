/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The inside of a channel: chan.c and select.c. */
#ifndef KR_SYNC_CHAN_H
#define KR_SYNC_CHAN_H

#include <kaus/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mem/root.h"
#include "sched/wait.h"

/*
 * Whoever looks at what is fixed takes the lock next, and fills or empties the
 * buffer under it: all of a small channel is in one pair of cache lines.
 */
struct kaus_chan {
	/* Fixed. */
	size_t elem_size;
	size_t capacity;
	/* lock; what decides whether one must wait is read without it too. */
	uint32_t lock;
	bool closed;
	size_t nr;		/* buffered */
	size_t head;		/* oldest one's slot */
	struct kaus_waitlist senders, receivers;
	struct kr_root root;	/* the buffer, if pointers fit into it */
	uint64_t buf[];
};

_Static_assert(offsetof(struct kaus_chan, buf) + sizeof(uint64_t) <=
	       KR_CACHE_PAIR, "one element fits in");

/*
 * The parts that do not wait, lock held. 0, -EAGAIN or -EPIPE; *ret_wake is
 * set if somebody is to be woken once the lock is released.
 */
int kr_chan_send_locked(struct kaus_chan *ch, const void *elem,
			struct kr_wait **ret_wake);
int kr_chan_recv_locked(struct kaus_chan *ch, void *ret_elem,
			struct kr_wait **ret_wake);

#endif /* KR_SYNC_CHAN_H */
