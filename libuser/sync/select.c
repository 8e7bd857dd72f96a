/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Select.
 *
 * DOC: First all channels are looked at without their locks, and one of those
 * that seem ready is tried, at random. Only when none is left all of them are
 * locked, in the order of their addresses, and looked at again; if still none
 * is ready there was a moment when none was, and the caller waits on all of
 * them. The entries are in the caller's cases: whoever sends, receives or
 * closes claims the wait through one of them.
 */
#include <kaus/select.h>

#include "base/rand.h"
#include "sched/runq.h"
#include "sync/chan.h"

struct slot {
	struct kr_waiter waiter;
	uint32_t nth;		/* of slot n: the case that is nth in a list */
};

_Static_assert(sizeof(struct slot) <=
	       sizeof(((struct kaus_case *)NULL)->opaque), "kaus_case.opaque");

struct select {
	struct kaus_case *cases;
	int nr;
};

static struct slot *slot_of(struct kaus_case *c)
{
	return (struct slot *)c->opaque;
}

static struct kaus_waitlist *waitlist_of(const struct kaus_case *c)
{
	return c->op == KAUS_OP_SEND ? &c->chan->senders : &c->chan->receivers;
}

/* A glance without the lock. */
static bool seems_ready(const struct kaus_case *c)
{
	const struct kaus_chan *ch = c->chan;

	if (!ch)
		return false;
	if (READ_ONCE(ch->closed))
		return true;
	if (c->op == KAUS_OP_SEND)
		return READ_ONCE(ch->receivers.first) ||
		       READ_ONCE(ch->nr) < ch->capacity;
	return READ_ONCE(ch->nr) || READ_ONCE(ch->senders.first);
}

static bool do_locked(struct kaus_case *c, struct kr_wait **ret_wake)
{
	int err = c->op == KAUS_OP_SEND ?
		  kr_chan_send_locked(c->chan, c->elem, ret_wake) :
		  kr_chan_recv_locked(c->chan, c->elem, ret_wake);

	if (err == -EAGAIN)
		return false;
	c->result = err;
	return true;
}

static uint32_t below(struct m *mp, uint32_t nr)
{
	static __thread uint32_t thread_rand = 1;
	uint32_t *rand = mp ? &mp->p->rand : &thread_rand;

	return (uint32_t)((uint64_t)kr_rand(rand) * nr >> 32);
}

/* One at a time, each of those that seem ready as likely as the others. */
static int try_each(struct m *mp, const struct select *s,
		    struct kr_wait **ret_wake)
{
	uint32_t nr_ready = 0;

	for (int i = 0; i < s->nr; i++)
		if (seems_ready(&s->cases[i]))
			slot_of(&s->cases[nr_ready++])->nth = (uint32_t)i;
	while (nr_ready) {
		uint32_t pick = nr_ready == 1 ? 0 : below(mp, nr_ready);
		uint32_t i = slot_of(&s->cases[pick])->nth;
		struct kaus_case *c = &s->cases[i];
		bool done;

		kr_lock(&c->chan->lock);
		done = do_locked(c, ret_wake);
		kr_unlock_quick(&c->chan->lock);
		if (done)
			return (int)i;
		slot_of(&s->cases[pick])->nth =
			slot_of(&s->cases[--nr_ready])->nth;
	}
	return -EAGAIN;
}

static struct kaus_case *in_order(const struct select *s, int i)
{
	return &s->cases[slot_of(&s->cases[i])->nth];
}

/* Shell's sort: in place, and fast enough for any number that makes sense. */
static void sort(struct select *s)
{
	for (int i = 0; i < s->nr; i++)
		slot_of(&s->cases[i])->nth = (uint32_t)i;
	for (int gap = s->nr / 2; gap; gap /= 2) {
		for (int i = gap; i < s->nr; i++) {
			uint32_t moved = slot_of(&s->cases[i])->nth;
			int at = i;

			while (at >= gap && in_order(s, at - gap)->chan >
						    s->cases[moved].chan) {
				slot_of(&s->cases[at])->nth =
					slot_of(&s->cases[at - gap])->nth;
				at -= gap;
			}
			slot_of(&s->cases[at])->nth = moved;
		}
	}
}

/* Each channel once, also one that occurs in several cases. */
static void lock_all(const struct select *s)
{
	const struct kaus_chan *last = NULL;

	for (int i = 0; i < s->nr; i++) {
		struct kaus_chan *ch = in_order(s, i)->chan;

		if (ch && ch != last)
			kr_lock(&ch->lock);
		last = ch;
	}
}

/*
 * The wait may be claimed through a channel that is unlocked, but it is not
 * over, nor the cases gone, before the last one is. Null channels, which are
 * first in the order, are not looked at after that.
 */
static void unlock_all(void *arg)
{
	const struct select s = *(struct select *)arg;
	struct kaus_chan *held = NULL;

	for (int i = s.nr; i-- > 0;) {
		struct kaus_chan *ch = in_order(&s, i)->chan;

		if (!ch)
			break;
		if (held && held != ch)
			kr_unlock_quick(&held->lock);
		held = ch;
	}
	if (held)
		kr_unlock_quick(&held->lock);
}

static int do_any_locked(struct m *mp, const struct select *s,
			 struct kr_wait **ret_wake)
{
	uint32_t start = s->nr > 1 ? below(mp, (uint32_t)s->nr) : 0;

	for (int n = 0; n < s->nr; n++) {
		int i = (int)((start + (uint32_t)n) % (uint32_t)s->nr);

		if (s->cases[i].chan && do_locked(&s->cases[i], ret_wake))
			return i;
	}
	return -EAGAIN;
}

/* All are locked and none is ready. Return: the M that it goes on with. */
static struct m *wait_for_any(struct m *mp, struct select *s,
			      uint64_t deadline_ns, int *ret_index)
{
	bool on_a_list = false;
	struct kr_wait wait;

	kr_wait_init(&wait, mp, deadline_ns);
	wait.contended = true;
	for (int i = 0; i < s->nr; i++) {
		struct kaus_case *c = &s->cases[i];
		struct kr_waiter *w = &slot_of(c)->waiter;

		w->wait = &wait;
		w->elem = c->elem;
		w->listed = false;
		if (c->chan) {
			kr_waitlist_put(waitlist_of(c), w);
			on_a_list = true;
		}
	}
	mp = kr_wait_block_on(mp, &wait, on_a_list ? unlock_all : NULL, s,
			      deadline_ns, "select");
	*ret_index = wait.result;
	for (int i = 0; i < s->nr; i++) {
		struct kaus_case *c = &s->cases[i];
		struct kr_waiter *w = &slot_of(c)->waiter;

		if (w == wait.by) {
			c->result = wait.result;
			*ret_index = i;
		} else if (c->chan) {
			kr_waitlist_forget(waitlist_of(c), &c->chan->lock, w);
		}
	}
	return mp;
}

static bool is_valid(const struct select *s)
{
	if (s->nr < 0)
		return false;
	for (int i = 0; i < s->nr; i++) {
		const struct kaus_case *c = &s->cases[i];

		if (c->op > KAUS_OP_SEND)
			return false;
		if (unlikely(!c->elem) && c->op == KAUS_OP_SEND && c->chan &&
		    c->chan->elem_size)
			return false;
	}
	return true;
}

/* For a caller that is inside the runtime; @wait: until @deadline_ns. */
static int choose(struct m *mp, struct select *s, bool wait,
		  uint64_t deadline_ns)
{
	struct kr_wait *wake = NULL;
	int index = try_each(mp, s, &wake);

	if (index == -EAGAIN) {
		sort(s);
		lock_all(s);
		index = do_any_locked(mp, s, &wake);
		if (index == -EAGAIN && wait)
			mp = wait_for_any(mp, s, deadline_ns, &index);
		else
			unlock_all(s);
	}
	if (wake)
		kr_wait_wake(mp, wake);
	kr_exit_any(mp);
	return index;
}

KR_API int kaus_select_until(struct kaus_case *cases, int nr,
			     uint64_t deadline_ns)
{
	struct select s = { cases, nr };
	struct m *mp;

	if (!is_valid(&s))
		return -EINVAL;
	if (!kr_enter_wait(&mp))
		return -EPERM;
	return choose(mp, &s, true, deadline_ns);
}

KR_API int kaus_select(struct kaus_case *cases, int nr)
{
	return kaus_select_until(cases, nr, KAUS_NO_DEADLINE);
}

KR_API int kaus_select_try(struct kaus_case *cases, int nr)
{
	struct select s = { cases, nr };
	struct m *mp;

	if (!is_valid(&s))
		return -EINVAL;
	if (!kr_enter_any(&mp))
		return -EPERM;
	return choose(mp, &s, false, 0);
}
