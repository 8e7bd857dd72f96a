/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Channels, with the semantics of Go's (runtime/chan.go).
 *
 * DOC: One lock per channel. A sender that finds a waiting receiver copies its
 * element straight into the receiver's variable and wakes it; otherwise it
 * fills a buffer slot or waits. Receivers mirror that. Invariants:
 *	- at least one of the two wait lists has nobody who can be woken;
 *	- receivers wait only while the buffer is empty, senders only while it
 *	  is full.
 *
 * Copying to another goroutine's stack with the lock held may fault a page in;
 * preemption is off, so nobody else is held up but those who want this lock.
 */
#include "sync/chan.h"

#include <kaus/chan.h>
#include <stdlib.h>
#include <string.h>

#include "mem/heap.h"
#include "sched/runq.h"

static inline void copy(const struct kaus_chan *ch, void *to, const void *from)
{
	if (!to || !from)
		return;
	/* What it overwrites may be all that refers to an object. */
	if (unlikely(READ_ONCE(kr_heap.marking) || !kr_self()))
		kr_heap_ops.copy(to, from, ch->elem_size);
	else if (likely(ch->elem_size == sizeof(uint64_t)))
		memcpy(to, from, sizeof(uint64_t));
	else if (ch->elem_size)
		memcpy(to, from, ch->elem_size);
}

static inline char *buf_slot(struct kaus_chan *ch, size_t i)
{
	size_t at = ch->head + i;

	if (at >= ch->capacity)
		at -= ch->capacity;
	return (char *)ch->buf + at * ch->elem_size;
}

/* What is in the buffer may be all that refers to an object. */
static bool has_root(const struct kaus_chan *ch)
{
	return ch->capacity && ch->elem_size >= sizeof(void *);
}

KR_API struct kaus_chan *kaus_chan_make(size_t elem_size, size_t capacity)
{
	struct kaus_chan *ch;
	size_t bytes;

	if (__builtin_mul_overflow(elem_size, capacity, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*ch) + KR_CACHE_PAIR - 1,
				   &bytes))
		return NULL;
	bytes &= ~(size_t)(KR_CACHE_PAIR - 1);
	ch = aligned_alloc(KR_CACHE_PAIR, bytes);
	if (!ch)
		return NULL;
	memset(ch, 0, sizeof(*ch));
	ch->elem_size = elem_size;
	ch->capacity = capacity;
	if (has_root(ch)) {
		struct m *mp = kr_enter();

		kr_root_add(&ch->root, ch->buf,
			    (char *)ch->buf + elem_size * capacity);
		kr_exit_any(mp);
	}
	return ch;
}

KR_API void kaus_chan_free(struct kaus_chan *ch)
{
	if (!ch)
		return;
	if (READ_ONCE(ch->senders.first) || READ_ONCE(ch->receivers.first))
		kr_throw("chan: freed while goroutines wait on it");
	if (has_root(ch)) {
		struct m *mp = kr_enter();

		kr_root_del(&ch->root);
		kr_exit_any(mp);
	}
	free(ch);
}

int kr_chan_send_locked(struct kaus_chan *ch, const void *elem,
			struct kr_wait **ret_wake)
{
	struct kr_waiter *w;

	if (ch->closed)
		return -EPIPE;
	w = kr_waitlist_claim(&ch->receivers);
	if (w) {
		copy(ch, w->elem, elem);
		*ret_wake = kr_waiter_done(w, 0);
		return 0;
	}
	if (ch->nr == ch->capacity)
		return -EAGAIN;
	copy(ch, buf_slot(ch, ch->nr), elem);
	WRITE_ONCE(ch->nr, ch->nr + 1);
	return 0;
}

int kr_chan_recv_locked(struct kaus_chan *ch, void *ret_elem,
			struct kr_wait **ret_wake)
{
	struct kr_waiter *w;

	if (ch->nr) {
		copy(ch, ret_elem, buf_slot(ch, 0));
		if (++ch->head == ch->capacity)
			ch->head = 0;
		/* A waiting sender's element takes the free slot. */
		w = kr_waitlist_claim(&ch->senders);
		if (w)
			copy(ch, buf_slot(ch, ch->nr - 1), w->elem);
		else
			WRITE_ONCE(ch->nr, ch->nr - 1);
	} else {
		w = kr_waitlist_claim(&ch->senders);
		if (w)
			copy(ch, ret_elem, w->elem);
		else
			return ch->closed ? -EPIPE : -EAGAIN;
	}
	if (w)
		*ret_wake = kr_waiter_done(w, 0);
	return 0;
}

/* A null channel is one that nobody else will ever use. */
static int wait_in_vain(struct m *mp, uint64_t deadline_ns, const char *reason)
{
	struct kr_wait wait;

	kr_wait_init(&wait, mp, deadline_ns);
	mp = kr_wait_block_on(mp, &wait, NULL, NULL, deadline_ns, reason);
	kr_exit_any(mp);
	return wait.result;
}

/* Either direction, with the channel's lock, which is released. */
static KR_NOINLINE int transfer_locked(struct m *mp, struct kaus_chan *ch,
				       bool send, void *elem,
				       uint64_t deadline_ns, const char *reason)
{
	struct kr_wait *wake = NULL, wait;
	struct kr_waiter w;
	int err;

	err = send ? kr_chan_send_locked(ch, elem, &wake) :
		     kr_chan_recv_locked(ch, elem, &wake);
	if (likely(err != -EAGAIN)) {
		kr_unlock_quick(&ch->lock);
		if (wake)
			kr_wait_wake(mp, wake);
	} else {
		struct kaus_waitlist *wl = send ? &ch->senders : &ch->receivers;

		kr_wait_init(&wait, mp, deadline_ns);
		w.wait = &wait;
		w.elem = elem;
		kr_waitlist_put(wl, &w);
		if (likely(mp && deadline_ns == KAUS_NO_DEADLINE))
			mp = kr_park_unlock(mp, &ch->lock, reason);
		else
			mp = kr_wait_block(mp, &wait, &ch->lock, deadline_ns,
					   reason);
		err = wait.result;
		if (err == -ETIMEDOUT)
			kr_waitlist_forget(wl, &ch->lock, &w);
	}
	kr_exit_any(mp);
	return err;
}

/* What has a size is somewhere, or receivers would get what lies around. */
static bool is_missing(const struct kaus_chan *ch, bool send, const void *elem)
{
	return unlikely(!elem) && send && ch && ch->elem_size;
}

static int transfer(struct kaus_chan *ch, bool send, void *elem,
		    uint64_t deadline_ns, const char *reason)
{
	struct m *mp;

	if (is_missing(ch, send, elem))
		return -EINVAL;
	if (!kr_enter_wait(&mp))
		return -EPERM;
	if (unlikely(!ch))
		return wait_in_vain(mp, deadline_ns, reason);
	kr_lock(&ch->lock);
	return transfer_locked(mp, ch, send, elem, deadline_ns, reason);
}

static int transfer_now(struct kaus_chan *ch, bool send, void *elem)
{
	struct kr_wait *wake = NULL;
	struct m *mp;
	int err;

	if (is_missing(ch, send, elem))
		return -EINVAL;
	if (!kr_enter_any(&mp))
		return -EPERM;
	if (unlikely(!ch)) {
		kr_exit_any(mp);
		return -EAGAIN;
	}
	kr_lock(&ch->lock);
	err = send ? kr_chan_send_locked(ch, elem, &wake) :
		     kr_chan_recv_locked(ch, elem, &wake);
	kr_unlock_quick(&ch->lock);
	if (wake)
		kr_wait_wake(mp, wake);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_chan_send_until(struct kaus_chan *ch, const void *elem,
				uint64_t deadline_ns)
{
	return transfer(ch, true, (void *)(uintptr_t)elem, deadline_ns,
			"chan send");
}

KR_API int kaus_chan_recv_until(struct kaus_chan *ch, void *ret_elem,
				uint64_t deadline_ns)
{
	return transfer(ch, false, ret_elem, deadline_ns, "chan receive");
}

/*
 * The two below first try the case in which a goroutine neither waits nor wakes
 * and the element is a word, apart from the general code: with few registers
 * to save. What a channel costs is its stores, for a locked operation waits
 * until those before it are done.
 */
KR_API int kaus_chan_send(struct kaus_chan *ch, const void *elem)
{
	void *from = (void *)(uintptr_t)elem;
	struct m *mp;

	if (unlikely(!ch || !elem || ch->elem_size != sizeof(uint64_t)))
		return transfer(ch, true, from, KAUS_NO_DEADLINE, "chan send");
	mp = kr_enter();
	if (unlikely(!mp))
		return transfer(ch, true, from, KAUS_NO_DEADLINE, "chan send");
	kr_lock(&ch->lock);
	if (ch->closed || ch->receivers.first || ch->nr == ch->capacity)
		return transfer_locked(mp, ch, true, from, KAUS_NO_DEADLINE,
				       "chan send");
	memcpy(buf_slot(ch, ch->nr), from, sizeof(uint64_t));
	WRITE_ONCE(ch->nr, ch->nr + 1);
	kr_unlock_quick(&ch->lock);
	kr_exit(mp);
	return 0;
}

KR_API int kaus_chan_recv(struct kaus_chan *ch, void *ret_elem)
{
	struct m *mp;

	if (unlikely(!ch || !ret_elem || ch->elem_size != sizeof(uint64_t)))
		return transfer(ch, false, ret_elem, KAUS_NO_DEADLINE,
				"chan receive");
	mp = kr_enter();
	if (unlikely(!mp))
		return transfer(ch, false, ret_elem, KAUS_NO_DEADLINE,
				"chan receive");
	kr_lock(&ch->lock);
	if (!ch->nr || ch->senders.first || READ_ONCE(kr_heap.marking))
		return transfer_locked(mp, ch, false, ret_elem,
				       KAUS_NO_DEADLINE, "chan receive");
	memcpy(ret_elem, buf_slot(ch, 0), sizeof(uint64_t));
	if (++ch->head == ch->capacity)
		ch->head = 0;
	WRITE_ONCE(ch->nr, ch->nr - 1);
	kr_unlock_quick(&ch->lock);
	kr_exit(mp);
	return 0;
}

KR_API int kaus_chan_try_send(struct kaus_chan *ch, const void *elem)
{
	return transfer_now(ch, true, (void *)(uintptr_t)elem);
}

KR_API int kaus_chan_try_recv(struct kaus_chan *ch, void *ret_elem)
{
	return transfer_now(ch, false, ret_elem);
}

KR_API int kaus_chan_close(struct kaus_chan *ch)
{
	struct kr_waiter *w, *wake[2];
	struct m *mp;

	if (!ch)
		return -EINVAL;
	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&ch->lock);
	if (ch->closed) {
		kr_unlock(&ch->lock);
		kr_exit_any(mp);
		return -EPIPE;
	}
	WRITE_ONCE(ch->closed, true);
	wake[0] = kr_waitlist_claim_all(&ch->senders);
	wake[1] = kr_waitlist_claim_all(&ch->receivers);
	kr_unlock(&ch->lock);
	for (int i = 0; i < 2; i++) {
		while ((w = wake[i])) {
			wake[i] = w->next;
			kr_wait_wake(mp, kr_waiter_done(w, -EPIPE));
		}
	}
	kr_exit_any(mp);
	return 0;
}

KR_API size_t kaus_chan_len(const struct kaus_chan *ch)
{
	return READ_ONCE(ch->nr);
}

KR_API size_t kaus_chan_cap(const struct kaus_chan *ch)
{
	return ch->capacity;
}
