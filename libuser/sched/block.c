/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Announced sleeps: Go's entersyscall and exitsyscall.
 *
 * The module sees a sleep when it happens, so nothing is done for it. For the
 * fallback the M itself marks its P SLEEPING, as sysmon would do after some
 * looks at it: from then on whoever makes work may take it, and sysmon finds an
 * M for it if work is there. Coming back is the same as after a sleep that was
 * not announced: kr_reacquire(). The assist may have changed meanwhile, so
 * whether there is something to undo is known by preemption, which is off then.
 */
#include "sched/block.h"

#include "sched/sched.h"

bool kr_block_begin(struct m *mp, bool now)
{
	uint64_t asleep = kr_owner_in(mp->owner, KAUS_P_SLEEPING);
	struct p *pp = mp->p;
	int err;

	if (!sched.assist->needs_notice)
		return false;
	if (!kr_owner_cas(pp, mp->owner, asleep))
		kr_throw("block: P changed hands");
	kr_or(&sched.hdr->sleeping[pp->id / 64], 1ULL << (pp->id % 64));
	/* The locked operation orders this against whoever makes work. */
	if (now && kr_p_needs_m(pp)) {
		err = sched.assist->start(pp, asleep);
		if (!err)
			kr_count_handoff();
		else if (err == -EAGAIN)
			sched.assist->service_poke();
	}
	/* From here on it may be suspended: it holds no lock. */
	smp_store_release(&mp->announced, true);
	return true;
}

bool kr_block_end(struct m *mp)
{
	if (!READ_ONCE(mp->slot->defer))
		return false;
	WRITE_ONCE(mp->announced, false);
	if (kr_owner(mp->p) != mp->owner)
		kr_reacquire(mp);
	return true;
}
