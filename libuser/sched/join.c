/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Joining with a deadline, or by a plain thread.
 *
 * Who does so writes a struct kr_wait, marked, over JOIN_OPEN, and only those
 * who hold g.join_lock write over that: the goroutine that ends, after it has
 * claimed the wait, or who joins, at the deadline. The lock is released once
 * the wait can be woken, as that of any list of waiters. A goroutine that joins
 * for good knows nothing of it (kr_g_join()): its word is OPEN or not.
 */
#include "sched/runq.h"

struct m *kr_g_join_until(struct m *mp, struct g *gp, uint64_t deadline_ns,
			  int *ret_err)
{
	struct kr_wait wait;
	uintptr_t word = (uintptr_t)&wait | JOIN_MARK;
	bool taken;

	kr_wait_init(&wait, mp, deadline_ns);
	kr_lock(&gp->join_lock);
	if (!kr_cas(&gp->join, JOIN_OPEN, word)) {
		taken = kr_cas(&gp->join, JOIN_ENDED, JOIN_TAKEN);
		kr_unlock(&gp->join_lock);
		*ret_err = taken ? 0 : -EINVAL;
		return mp;
	}
	mp = kr_wait_block(mp, &wait, &gp->join_lock, deadline_ns, "join");
	*ret_err = wait.result;
	if (!wait.result)
		return mp;
	kr_lock(&gp->join_lock);
	if (READ_ONCE(gp->join) == word)
		smp_store_release(&gp->join, JOIN_OPEN);
	kr_unlock(&gp->join_lock);
	return mp;
}

void kr_join_ended(struct m *mp, struct g *gp)
{
	struct kr_wait *w;
	uintptr_t word;
	bool claimed;

	while (!kr_cas(&gp->join, JOIN_OPEN, JOIN_ENDED)) {
		word = smp_load_acquire(&gp->join);
		if (word == JOIN_OPEN)
			continue;
		if (!(word & JOIN_MARK)) {
			kr_ready(mp, (struct g *)word);
			return;
		}
		kr_lock(&gp->join_lock);
		if (READ_ONCE(gp->join) != word) {
			kr_unlock(&gp->join_lock);
			continue;
		}
		w = (struct kr_wait *)(word - JOIN_MARK);
		claimed = kr_wait_claim(w);
		smp_store_release(&gp->join,
				  claimed ? JOIN_TAKEN : JOIN_ENDED);
		kr_unlock(&gp->join_lock);
		if (claimed) {
			w->result = 0;
			kr_wait_wake(mp, w);
		}
		return;
	}
}
