/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Waiting until a descriptor is readable or writable. netpoll.c: who polls.
 * pollfd.c: the descriptors, and who waits for them.
 */
#ifndef KR_SCHED_NETPOLL_H
#define KR_SCHED_NETPOLL_H

#include <kaus/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/compiler.h"

struct g;
struct m;

/* While nobody waits in epoll, and there is something to poll, somebody looks
 * after what may have been forgotten at least so often.
 */
#define KR_NETPOLL_TICK_NS	4000000ULL

enum kr_poll_dir {
	KR_POLL_IN,
	KR_POLL_OUT,
	KR_POLL_DIRS,
};

/* One direction; lock of the descriptor. */
struct kr_polldir {
	struct kaus_waitlist waiters;
	uint64_t deadline_ns;	/* of all waits in this direction */
	uint32_t nr_events;	/* so far; read without the lock too */
	/*
	 * Empty, since there were so many events; 0: not known. Without the
	 * lock. See kr_pollfd_is_drained().
	 */
	uint32_t drained;
};

/*
 * A poll descriptor. They are never freed, only used again, with another
 * sequence number: a handle or an event that is older finds nothing.
 */
struct kr_pollfd {
	/* Sequence number, CLOSING, references; see pollfd.c. */
	uint64_t state;
	uint32_t index;
	int fd;
	bool pollable;		/* regular files are not: calls just block */
	bool is_socket;
	bool is_direct;		/* O_DIRECT: the page cache is left out */
	bool is_tcp;		/* made here: listens, or is a connection */
	bool short_is_empty;	/* what a short read says; lock */
	uint32_t lock;
	struct kr_polldir dir[KR_POLL_DIRS];
	struct kr_pollfd *next_free;
} KR_PAIR_ALIGNED;

/* pollfd.c */

/**
 * kr_pollfd_open() - Get a descriptor for @fd and poll it if it can be polled.
 * @fd: The file descriptor.
 * @is_tcp: A TCP socket that nobody else knows.
 * @ret_handle: Its handle, positive.
 *
 * Context: not inside the runtime; may start a thread. Return: 0 or -errno, and
 * @fd is as it was.
 */
int kr_pollfd_open(int fd, bool is_tcp, int64_t *ret_handle);

/* The descriptor of a handle with a reference, or NULL: closed or none. */
struct kr_pollfd *kr_pollfd_get(int64_t handle);
/* Whoever puts the last reference of one that is being closed closes it. */
void kr_pollfd_put(struct kr_pollfd *pd);

/**
 * kr_pollfd_close() - Start to close: waits end with -ECANCELED.
 * @handle: The handle, invalid from here on.
 *
 * Return: 0 or -EBADF.
 */
int kr_pollfd_close(int64_t handle);

/* While the caller has a reference. */
bool kr_pollfd_is_closing(const struct kr_pollfd *pd);

/* About to try: what happened up to now the try itself will see. */
static inline uint32_t kr_pollfd_seen(const struct kr_pollfd *pd,
				      enum kr_poll_dir dir)
{
	return smp_load_acquire(&pd->dir[dir].nr_events);
}

/*
 * A read of a TCP socket that returns less than it could has emptied it, and
 * whatever comes then is another event: the next read need not try. Not so if
 * the socket has reached its end or has urgent data, which cuts reads short, or
 * if the program has its number and may do to it what it likes.
 *
 * Noted with the events that were seen before the read. One of them may have
 * been for the end as well, and was the last then: it has cleared short_is_empty
 * before it was counted.
 */
static inline bool kr_pollfd_is_drained(const struct kr_pollfd *pd,
					uint32_t seen)
{
	return seen && READ_ONCE(pd->dir[KR_POLL_IN].drained) == seen &&
	       READ_ONCE(pd->short_is_empty);
}

static inline void kr_pollfd_note_drained(struct kr_pollfd *pd, uint32_t seen)
{
	if (READ_ONCE(pd->short_is_empty))
		WRITE_ONCE(pd->dir[KR_POLL_IN].drained, seen);
}

/* The program is told the number of its file descriptor. */
void kr_pollfd_show(struct kr_pollfd *pd);

/**
 * kr_pollfd_wait() - Wait for an event that the caller has not seen.
 * @pd: The descriptor; it is pollable.
 * @dir: Readable or writable.
 * @seen: From kr_pollfd_seen(), before the try that said EAGAIN.
 * @deadline_ns: Absolute CLOCK_MONOTONIC; that of the descriptor counts too.
 *
 * Return: 0: try again; -ETIMEDOUT, -ECANCELED (it is being closed), or -EPERM
 * if the runtime does not run.
 */
int kr_pollfd_wait(struct kr_pollfd *pd, enum kr_poll_dir dir, uint32_t seen,
		   uint64_t deadline_ns);

/* For those who wait now, too. */
void kr_pollfd_set_deadline(struct kr_pollfd *pd, enum kr_poll_dir dir,
			    uint64_t deadline_ns);

/**
 * kr_pollfd_event() - An event has come.
 * @handle: Whose; one of long ago is ignored.
 * @in: Readable.
 * @out: Writable.
 * @odd: Not only that: the end, an error, urgent data.
 * @list: Goroutines that are to be made ready go in front of it.
 *
 * Threads are woken. Context: preemption off or no M. Return: how many
 * goroutines.
 */
unsigned int kr_pollfd_event(int64_t handle, bool in, bool out, bool odd,
			     struct g **list);

/* netpoll.c */

/* Called once a descriptor is to be polled. Not inside the runtime. */
int kr_netpoll_init(void);
/* -EPERM: of a kind that cannot be polled. */
int kr_netpoll_add(int fd, int64_t handle);
void kr_netpoll_del(int fd);

/* Threads of its own: the watch, once it has been needed. */
uint32_t kr_netpoll_nr_threads(void);

/* Ms that wait in epoll, none of which is in the pool. */
uint32_t kr_netpoll_nr_ms(void);

/* How often the watch has waited for its tick, for tests. */
uint32_t kr_netpoll_nr_pauses(void);

extern uint32_t kr_netpoll_nr_fds;

/* Is there anything to poll? */
static inline bool kr_netpoll_is_on(void)
{
	/* Acquire: what kr_netpoll_init() has made is there. */
	return smp_load_acquire(&kr_netpoll_nr_fds) != 0;
}

/**
 * kr_netpoll_find() - Poll without waiting.
 * @mp: The M, with a P that has nothing to run.
 *
 * Return: a goroutine to run, others are in the P's queue; or NULL.
 */
struct g *kr_netpoll_find(struct m *mp);

/* Does somebody wait in epoll? */
bool kr_netpoll_is_claimed(void);

/* Become the one that waits in epoll. False: somebody is, or nothing to do. */
bool kr_netpoll_claim(void);

/**
 * kr_netpoll_block() - Wait for events, after kr_netpoll_claim().
 * @mp: The M, without a P. It may have one afterwards.
 * @deadline_ns: Absolute CLOCK_MONOTONIC or UINT64_MAX.
 *
 * Return: 0: there were events; -ETIMEDOUT: none, perhaps too early.
 */
int kr_netpoll_block(struct m *mp, uint64_t deadline_ns);

#endif /* KR_SCHED_NETPOLL_H */
