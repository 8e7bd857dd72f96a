/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Channels, with the semantics of Go's (runtime/chan.go).
 *
 * DOC: One lock per channel. A sender that finds a waiting receiver copies its
 * element straight into the receiver's variable and makes it ready; otherwise
 * it fills a buffer slot or waits. Receivers mirror that. Invariants:
 *	- at least one of the two wait lists is empty;
 *	- receivers wait only while the buffer is empty, senders only while it
 *	  is full.
 * A waiter lives on the stack of its goroutine. It may be touched only while
 * it is on a list (lock held) or by whoever took it off, until that one calls
 * kr_ready(): then the stack goes on.
 *
 * Copying to another goroutine's stack with the lock held may fault a page in;
 * preemption is off, so nobody else is held up but those who want this lock.
 */
#include <kaus/chan.h>
#include <stdlib.h>
#include <string.h>

#include "sched/sched.h"

struct waiter {
	struct g *gp;
	void *elem;		/* to copy from or to, or NULL */
	int result;		/* 0, or -EPIPE: woken by close */
	struct waiter *next;
};

struct waitlist {
	struct waiter *first;
	struct waiter **last;
};

struct kaus_chan {
	/* Fixed. */
	size_t elem_size;
	size_t capacity;
	/* lock */
	uint32_t lock KR_PAIR_ALIGNED;
	bool closed;
	size_t nr;		/* buffered */
	size_t head;		/* oldest one's slot */
	struct waitlist senders, receivers;
	char buf[] KR_PAIR_ALIGNED;
};

static void waitlist_init(struct waitlist *wl)
{
	wl->first = NULL;
	wl->last = &wl->first;
}

static void waitlist_put(struct waitlist *wl, struct waiter *w)
{
	w->next = NULL;
	*wl->last = w;
	wl->last = &w->next;
}

static struct waiter *waitlist_get(struct waitlist *wl)
{
	struct waiter *w = wl->first;

	if (!w)
		return NULL;
	wl->first = w->next;
	if (!wl->first)
		wl->last = &wl->first;
	return w;
}

static void copy(const struct kaus_chan *ch, void *to, const void *from)
{
	if (to && from && ch->elem_size)
		memcpy(to, from, ch->elem_size);
}

static char *buf_slot(struct kaus_chan *ch, size_t i)
{
	size_t at = ch->head + i;

	if (at >= ch->capacity)
		at -= ch->capacity;
	return ch->buf + at * ch->elem_size;
}

KR_API struct kaus_chan *kaus_chan_make(size_t elem_size, size_t capacity)
{
	struct kaus_chan *ch;
	size_t bytes;

	if (__builtin_mul_overflow(elem_size, capacity, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*ch) + KR_CACHE_PAIR, &bytes))
		return NULL;
	bytes &= ~(size_t)(KR_CACHE_PAIR - 1);
	ch = aligned_alloc(KR_CACHE_PAIR, bytes);
	if (!ch)
		return NULL;
	memset(ch, 0, sizeof(*ch));
	ch->elem_size = elem_size;
	ch->capacity = capacity;
	waitlist_init(&ch->senders);
	waitlist_init(&ch->receivers);
	return ch;
}

KR_API void kaus_chan_free(struct kaus_chan *ch)
{
	if (!ch)
		return;
	if (ch->senders.first || ch->receivers.first)
		kr_throw("chan: freed while goroutines wait on it");
	free(ch);
}

/* The parts that do not wait. 0, -EAGAIN or -EPIPE; *ret_ready to be woken. */
static int send_locked(struct kaus_chan *ch, const void *elem,
		       struct g **ret_ready)
{
	struct waiter *w;

	if (ch->closed)
		return -EPIPE;
	w = waitlist_get(&ch->receivers);
	if (w) {
		copy(ch, w->elem, elem);
		w->result = 0;
		*ret_ready = w->gp;
		return 0;
	}
	if (ch->nr == ch->capacity)
		return -EAGAIN;
	copy(ch, buf_slot(ch, ch->nr), elem);
	ch->nr++;
	return 0;
}

static int recv_locked(struct kaus_chan *ch, void *ret_elem,
		       struct g **ret_ready)
{
	struct waiter *w;

	if (ch->nr) {
		copy(ch, ret_elem, buf_slot(ch, 0));
		if (++ch->head == ch->capacity)
			ch->head = 0;
		ch->nr--;
		/* A waiting sender's element takes the free slot. */
		w = waitlist_get(&ch->senders);
		if (w) {
			copy(ch, buf_slot(ch, ch->nr), w->elem);
			ch->nr++;
		}
	} else {
		w = waitlist_get(&ch->senders);
		if (w)
			copy(ch, ret_elem, w->elem);
		else
			return ch->closed ? -EPIPE : -EAGAIN;
	}
	if (w) {
		w->result = 0;
		*ret_ready = w->gp;
	}
	return 0;
}

KR_API int kaus_chan_send(struct kaus_chan *ch, const void *elem)
{
	struct m *mp = kr_enter();
	struct g *ready = NULL;
	struct waiter w;
	int err;

	if (!mp)
		return -EPERM;
	kr_lock(&ch->lock);
	err = send_locked(ch, elem, &ready);
	if (err == -EAGAIN) {
		w.gp = mp->curg;
		w.elem = (void *)(uintptr_t)elem;
		waitlist_put(&ch->senders, &w);
		mp = kr_park_unlock(mp, &ch->lock, "chan send");
		err = w.result;
	} else {
		kr_unlock(&ch->lock);
		if (ready)
			kr_ready(mp, ready);
	}
	kr_exit(mp);
	return err;
}

KR_API int kaus_chan_recv(struct kaus_chan *ch, void *ret_elem)
{
	struct m *mp = kr_enter();
	struct g *ready = NULL;
	struct waiter w;
	int err;

	if (!mp)
		return -EPERM;
	kr_lock(&ch->lock);
	err = recv_locked(ch, ret_elem, &ready);
	if (err == -EAGAIN) {
		w.gp = mp->curg;
		w.elem = ret_elem;
		waitlist_put(&ch->receivers, &w);
		mp = kr_park_unlock(mp, &ch->lock, "chan receive");
		err = w.result;
	} else {
		kr_unlock(&ch->lock);
		if (ready)
			kr_ready(mp, ready);
	}
	kr_exit(mp);
	return err;
}

KR_API int kaus_chan_try_send(struct kaus_chan *ch, const void *elem)
{
	struct g *ready = NULL;
	struct m *mp;
	int err;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&ch->lock);
	err = send_locked(ch, elem, &ready);
	kr_unlock(&ch->lock);
	if (ready)
		kr_ready(mp, ready);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_chan_try_recv(struct kaus_chan *ch, void *ret_elem)
{
	struct g *ready = NULL;
	struct m *mp;
	int err;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&ch->lock);
	err = recv_locked(ch, ret_elem, &ready);
	kr_unlock(&ch->lock);
	if (ready)
		kr_ready(mp, ready);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_chan_close(struct kaus_chan *ch)
{
	struct waiter *w, *next, *senders, *receivers;
	struct m *mp;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&ch->lock);
	if (ch->closed) {
		kr_unlock(&ch->lock);
		kr_exit_any(mp);
		return -EPIPE;
	}
	ch->closed = true;
	senders = ch->senders.first;
	receivers = ch->receivers.first;
	waitlist_init(&ch->senders);
	waitlist_init(&ch->receivers);
	kr_unlock(&ch->lock);
	for (w = senders ? senders : receivers; w; w = next) {
		next = w->next;
		w->result = -EPIPE;
		kr_ready(mp, w->gp);
	}
	kr_exit_any(mp);
	return 0;
}

KR_API size_t kaus_chan_len(const struct kaus_chan *ch)
{
	return READ_ONCE(ch->nr);
}
