/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Poll descriptors: lifetime, and who waits for one.
 *
 * DOC: A handle is index and sequence number of a descriptor. The descriptor's
 * state word has the sequence number that is valid, the number of calls that
 * use it (and one for being open), and a flag that says that it is to be
 * closed. Whoever wants to use it adds a reference by compare-and-swap, which
 * fails for any other sequence number and while it is being closed. So a
 * handle that was closed finds nothing, even if another goroutine is just
 * about to use it, and the file descriptor is closed when nobody uses it any
 * more: its number cannot come to mean another file in the middle of a call.
 *
 * Waiting is edge-triggered: note how many events there were, try the call,
 * wait if it says EAGAIN. After another event the wait is over before it has
 * begun, for each of those who want to wait, also if others have seen it. An
 * event that finds waiters wakes all in its direction: each
 * tries again, and the edge after the last EAGAIN wakes those who wait then.
 * (Waking one would need it to pass the event on when it reads less than all
 * or gives up.)
 *
 * Invariant: who waits has seen EAGAIN after the last event.
 */
#include "mem/persist.h"
#include "mem/root.h"
#include "os/io.h"
#include "sched/netpoll.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/virtual.h"

#define SEQ_SHIFT	32
#define SEQ_MAX		0x7fffffffU	/* handles are positive */
#define CLOSING		(1ULL << 31)
#define REFS		(CLOSING - 1)

#define CHUNK_PDS	64
#define MAX_CHUNKS	16384		/* a million descriptors */

static struct {
	uint32_t lock;
	uint32_t nr;			/* made so far */
	struct kr_pollfd *free;
	struct kr_pollfd *chunks[MAX_CHUNKS];
} table;
KR_NOT_A_ROOT(table);

static uint32_t state_seq(uint64_t state)
{
	return (uint32_t)(state >> SEQ_SHIFT);
}

static struct kr_pollfd *lookup(int64_t handle)
{
	uint32_t index = (uint32_t)handle;

	if (handle <= 0 || index >= smp_load_acquire(&table.nr))
		return NULL;
	return &table.chunks[index / CHUNK_PDS][index % CHUNK_PDS];
}

static struct kr_pollfd *new_locked(void)
{
	uint32_t index = table.nr;
	struct kr_pollfd **chunk = &table.chunks[index / CHUNK_PDS], *pd;

	if (index == CHUNK_PDS * MAX_CHUNKS)
		return NULL;
	if (!*chunk)
		*chunk = kr_persist_alloc(CHUNK_PDS * sizeof(*pd));
	if (!*chunk)
		return NULL;
	pd = *chunk + index % CHUNK_PDS;
	pd->index = index;
	pd->state = 1ULL << SEQ_SHIFT | CLOSING;
	smp_store_release(&table.nr, index + 1);
	return pd;
}

/* Not yet to be found by its handle. */
static struct kr_pollfd *alloc(void)
{
	struct m *mp = kr_enter();
	struct kr_pollfd *pd;

	kr_lock(&table.lock);
	pd = table.free;
	if (pd)
		table.free = pd->next_free;
	else
		pd = new_locked();
	kr_unlock(&table.lock);
	kr_exit_any(mp);
	return pd;
}

static void release(struct kr_pollfd *pd)
{
	uint32_t seq = state_seq(pd->state) + 1;
	struct m *mp = kr_enter();

	/* An event that has been fetched may be on its way. */
	kr_lock(&pd->lock);
	if (seq > SEQ_MAX)
		seq = 1;
	WRITE_ONCE(pd->state, (uint64_t)seq << SEQ_SHIFT | CLOSING);
	kr_unlock(&pd->lock);
	kr_lock(&table.lock);
	pd->next_free = table.free;
	table.free = pd;
	kr_unlock(&table.lock);
	kr_exit_any(mp);
}

int kr_pollfd_open(int fd, bool is_tcp, int64_t *ret_handle)
{
	struct kr_pollfd *pd;
	int64_t handle;
	int err;

	err = kr_netpoll_init();
	if (err)
		return err;
	err = kr_fd_is_socket(fd);
	if (err < 0)
		return err;
	pd = alloc();
	if (!pd)
		return -ENOMEM;
	pd->is_socket = err;
	pd->is_direct = kr_fd_is_direct(fd);
	pd->is_tcp = is_tcp;
	WRITE_ONCE(pd->short_is_empty, is_tcp);
	WRITE_ONCE(pd->dir[KR_POLL_IN].drained, 0);
	pd->fd = fd;
	for (int i = 0; i < KR_POLL_DIRS; i++)
		pd->dir[i].deadline_ns = KAUS_NO_DEADLINE;
	handle = (int64_t)((uint64_t)state_seq(pd->state) << SEQ_SHIFT |
			   pd->index);
	err = kr_netpoll_add(fd, handle);
	pd->pollable = !err;
	if (!err) {
		err = kr_fd_set_nonblock(fd);
		if (err)
			kr_netpoll_del(fd);
	} else if (err == -EPERM) {
		err = 0;
	}
	if (err) {
		release(pd);
		return err;
	}
	smp_store_release(&pd->state, (pd->state & ~CLOSING) + 1);
	*ret_handle = handle;
	return 0;
}

struct kr_pollfd *kr_pollfd_get(int64_t handle)
{
	struct kr_pollfd *pd = lookup(handle);
	uint64_t state;

	if (!pd)
		return NULL;
	do {
		state = READ_ONCE(pd->state);
		if (state_seq(state) != handle >> SEQ_SHIFT ||
		    (state & CLOSING))
			return NULL;
	} while (!kr_cas(&pd->state, state, state + 1));
	return pd;
}

void kr_pollfd_put(struct kr_pollfd *pd)
{
	uint64_t state = kr_sub(&pd->state, 1);

	if (likely(!(state & CLOSING) || (state & REFS)))
		return;
	if (pd->pollable)
		kr_netpoll_del(pd->fd);
	kr_fd_close(pd->fd);
	release(pd);
}

bool kr_pollfd_is_closing(const struct kr_pollfd *pd)
{
	return READ_ONCE(pd->state) & CLOSING;
}

/* End all waits in a direction, with @result. */
static void wake_all(struct m *mp, struct kr_waiter *w, int result)
{
	while (w) {
		struct kr_waiter *next = w->next;

		kr_wait_wake(mp, kr_waiter_done(w, result));
		w = next;
	}
}

int kr_pollfd_close(int64_t handle)
{
	struct kr_pollfd *pd = lookup(handle);
	struct kr_waiter *wake[KR_POLL_DIRS];
	uint64_t state;
	struct m *mp;

	if (!pd)
		return -EBADF;
	do {
		state = READ_ONCE(pd->state);
		if (state_seq(state) != handle >> SEQ_SHIFT ||
		    (state & CLOSING))
			return -EBADF;
	} while (!kr_cas(&pd->state, state, state | CLOSING));
	mp = kr_enter();
	/* Who begins to wait sees CLOSING under the lock. */
	kr_lock(&pd->lock);
	for (int i = 0; i < KR_POLL_DIRS; i++)
		wake[i] = kr_waitlist_claim_all(&pd->dir[i].waiters);
	kr_unlock(&pd->lock);
	for (int i = 0; i < KR_POLL_DIRS; i++)
		wake_all(mp, wake[i], -ECANCELED);
	kr_exit_any(mp);
	kr_pollfd_put(pd);
	return 0;
}

int kr_pollfd_wait(struct kr_pollfd *pd, enum kr_poll_dir dir, uint32_t seen,
		   uint64_t deadline_ns)
{
	struct kr_polldir *d = &pd->dir[dir];
	struct kr_waiter w;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&pd->lock);
	if (d->deadline_ns < deadline_ns)
		deadline_ns = d->deadline_ns;
	if (kr_pollfd_is_closing(pd)) {
		err = -ECANCELED;
	} else if (d->nr_events != seen) {
		/* Try again. */
	} else if (deadline_ns != KAUS_NO_DEADLINE &&
		   deadline_ns <= kr_time_now_ns()) {
		err = -ETIMEDOUT;
	} else {
		kr_wait_init(&wait, mp, deadline_ns);
		w.wait = &wait;
		w.elem = NULL;
		kr_waitlist_put(&d->waiters, &w);
		if (mp)
			kr_virtual_hold();
		mp = kr_wait_block(mp, &wait, &pd->lock, deadline_ns,
				   dir == KR_POLL_IN ? "read" : "write");
		if (mp)
			kr_virtual_let_go();
		err = wait.result;
		if (err == -ETIMEDOUT)
			kr_waitlist_forget(&d->waiters, &pd->lock, &w);
		kr_exit_any(mp);
		return err;
	}
	kr_unlock(&pd->lock);
	kr_exit_any(mp);
	return err;
}

void kr_pollfd_set_deadline(struct kr_pollfd *pd, enum kr_poll_dir dir,
			    uint64_t deadline_ns)
{
	struct kr_polldir *d = &pd->dir[dir];
	struct m *mp = kr_enter();
	struct kr_waiter *wake;

	kr_lock(&pd->lock);
	d->deadline_ns = deadline_ns;
	wake = kr_waitlist_claim_all(&d->waiters);
	kr_unlock(&pd->lock);
	/* They try again and wait until the new one. */
	wake_all(mp, wake, 0);
	kr_exit_any(mp);
}

void kr_pollfd_show(struct kr_pollfd *pd)
{
	WRITE_ONCE(pd->short_is_empty, false);
}

unsigned int kr_pollfd_event(int64_t handle, bool in, bool out, bool odd,
			     struct g **list)
{
	const bool set[KR_POLL_DIRS] = { [KR_POLL_IN] = in,
					 [KR_POLL_OUT] = out };
	struct kr_pollfd *pd = lookup(handle);
	struct kr_waiter *w, *next, *wake[KR_POLL_DIRS] = { NULL };
	unsigned int nr = 0;

	if (!pd)
		return 0;
	kr_lock(&pd->lock);
	if (state_seq(READ_ONCE(pd->state)) != handle >> SEQ_SHIFT) {
		kr_unlock(&pd->lock);
		return 0;
	}
	if (odd)
		WRITE_ONCE(pd->short_is_empty, false);
	for (int i = 0; i < KR_POLL_DIRS; i++) {
		if (!set[i])
			continue;
		smp_store_release(&pd->dir[i].nr_events,
				  pd->dir[i].nr_events + 1);
		wake[i] = kr_waitlist_claim_all(&pd->dir[i].waiters);
	}
	kr_unlock(&pd->lock);
	for (int i = 0; i < KR_POLL_DIRS; i++) {
		for (w = wake[i]; w; w = next) {
			struct kr_wait *wait = kr_waiter_done(w, 0);
			struct g *gp = wait->gp;

			next = w->next;
			if (!gp) {
				kr_wait_wake(NULL, wait);
				continue;
			}
			gp->next = *list;
			*list = gp;
			nr++;
		}
	}
	return nr;
}
