/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Who has which P: owner words, the idle list, Ps that wait for an M, Ps whose
 * holder sleeps. The loop that uses all this is in proc.c.
 */
#include "sched/attach.h"
#include "sched/chance.h"
#include "sched/sched.h"
#include "sched/stw.h"

uint64_t kr_owner(const struct p *pp)
{
	return READ_ONCE(pp->slot->owner);
}

bool kr_owner_cas(struct p *pp, uint64_t old, uint64_t new)
{
	uint64_t probed = kr_owner_in(old, KAUS_P_STOPPED);
	uint64_t word;

	do {
		if (kr_cas(&pp->slot->owner, old, new))
			return true;
		if (KAUS_OWNER_STATE(old) != KAUS_P_RUNNING)
			return false;
		/* Sysmon may put it back itself, and probe again, meanwhile. */
		kr_cas(&pp->slot->owner, probed, old);
		word = kr_owner(pp);
	} while (word == old || word == probed);
	return false;
}

bool kr_p_needs_m(const struct p *pp)
{
	uint64_t timer = READ_ONCE(pp->slot->timer_ns);

	return kr_p_has_work(pp) || READ_ONCE(sched.hdr->nr_global) ||
	       (timer && timer <= kr_clock_now_ns());
}

bool kr_work_anywhere(void)
{
	uint64_t now = 0;

	if (READ_ONCE(sched.hdr->nr_global))
		return true;
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];
		uint64_t timer = READ_ONCE(pp->slot->timer_ns);

		if (kr_p_has_work(pp))
			return true;
		if (timer && !now)
			now = kr_clock_now_ns();
		if (timer && timer <= now)
			return true;
	}
	return false;
}

void kr_idle_put_locked(struct p *pp)
{
	if (unlikely(sched.stw)) {
		kr_stop_idle_locked(pp);
		return;
	}
	pp->link = sched.idle_ps;
	sched.idle_ps = pp;
	kr_add(&sched.nr_idle, 1);
}

struct p *kr_idle_get(void)
{
	struct p *pp;

	if (!READ_ONCE(sched.nr_idle))
		return NULL;
	kr_lock(&sched.lock);
	pp = sched.idle_ps;
	if (pp) {
		sched.idle_ps = pp->link;
		kr_sub(&sched.nr_idle, 1);
	}
	kr_unlock(&sched.lock);
	if (pp)
		sched.assist->busy();
	return pp;
}

void kr_p_drop(struct m *mp)
{
	WRITE_ONCE(mp->p, NULL);
	WRITE_ONCE(mp->slot->proc, KAUS_NONE);
}

void kr_p_release(struct m *mp, struct p *pp)
{
	uint64_t idle = KAUS_OWNER(KAUS_P_IDLE, 0, KAUS_OWNER_GEN(mp->owner));

	/* The slot first: the module must not connect this M with a P that
	 * is already somebody else's.
	 */
	kr_p_drop(mp);
	/* Nobody's turn: what comes now is no goroutine. */
	pp->globq_turn_ns = 0;
	pp->turn_is_back = false;
	if (!kr_owner_cas(pp, mp->owner, idle))
		kr_throw("proc: released a P of somebody else");
}

static void bind_to(struct m *mp, const struct p *pp)
{
	uint32_t cpu = READ_ONCE(pp->cpu);

	if (unlikely(!READ_ONCE(sched.bind))) {
		/* It was the module that wanted it. */
		if (mp->bound_cpu != KAUS_NONE)
			kr_cpu_unbind();
		mp->bound_cpu = KAUS_NONE;
		return;
	}
	if (mp->bound_cpu == cpu)
		return;
	/* Advice: the mask may have shrunk since. */
	if (cpu == KAUS_NONE)
		kr_cpu_unbind();
	else
		(void)kr_cpu_bind(cpu);
	mp->bound_cpu = cpu;
}

void kr_p_bind(struct m *mp)
{
	bind_to(mp, mp->p);
}

void kr_m_settle(struct m *mp)
{
	struct p *pp = sched.allp[(mp->id - 1) % kr_nr_procs()];

	mp->home = pp->id;
	bind_to(mp, pp);
}

static void p_adopt(struct m *mp, struct p *pp)
{
	WRITE_ONCE(mp->p, pp);
	mp->home = pp->id;
	WRITE_ONCE(mp->slot->proc, pp->id);
	kr_attach_adopt(mp, pp);
	bind_to(mp, pp);
	if (pp->start_spinning) {
		pp->start_spinning = false;
		mp->spinning = true;
	}
}

void kr_p_take(struct m *mp, struct p *pp)
{
	/* Sysmon may be probing it: then the CAS makes it RUNNING again. */
	WRITE_ONCE(mp->owner, kr_owner_in(kr_owner(pp), KAUS_P_RUNNING));
	if (KAUS_OWNER_WORKER(mp->owner) != mp->id ||
	    !kr_owner_cas(pp, mp->owner, mp->owner))
		kr_throw("proc: given a P that is not ours");
	p_adopt(mp, pp);
}

void kr_p_acquire(struct m *mp, struct p *pp)
{
	uint64_t old = kr_owner(pp);

	WRITE_ONCE(mp->owner, KAUS_OWNER(KAUS_P_RUNNING, mp->id,
					 KAUS_OWNER_GEN(old) + 1));
	if (KAUS_OWNER_STATE(old) != KAUS_P_IDLE ||
	    !kr_cas(&pp->slot->owner, old, mp->owner))
		kr_throw("proc: idle P is not idle");
	p_adopt(mp, pp);
}

void kr_p_change(struct m *mp, struct p *to)
{
	struct p *from = mp->p;
	uint64_t owner = kr_owner(to);

	kr_p_drop(mp);
	if (!kr_owner_cas(from, mp->owner,
			  KAUS_OWNER(KAUS_P_STOPPED, 0,
				     KAUS_OWNER_GEN(mp->owner) + 1)))
		kr_throw("proc: changed a P of somebody else");
	WRITE_ONCE(mp->owner, KAUS_OWNER(KAUS_P_RUNNING, mp->id,
					 KAUS_OWNER_GEN(owner) + 1));
	if (KAUS_OWNER_STATE(owner) != KAUS_P_STOPPED ||
	    !kr_cas(&to->slot->owner, owner, mp->owner))
		kr_throw("proc: changed to a P of somebody else");
	p_adopt(mp, to);
}

void kr_pending_put(struct p *pp)
{
	kr_lock(&sched.lock);
	if (unlikely(sched.stw)) {
		kr_stop_idle_locked(pp);
	} else {
		pp->link = sched.pending_ps;
		WRITE_ONCE(sched.pending_ps, pp);
	}
	kr_unlock(&sched.lock);
}

bool kr_p_no_spinner(struct p *pp)
{
	if (!pp->start_spinning)
		return false;
	pp->start_spinning = false;
	return kr_sub(&sched.nr_spinning, 1) == 0;
}

struct p *kr_pending_get(void)
{
	struct p *pp;

	if (!READ_ONCE(sched.pending_ps))
		return NULL;
	kr_lock(&sched.lock);
	pp = sched.pending_ps;
	if (pp)
		WRITE_ONCE(sched.pending_ps, pp->link);
	kr_unlock(&sched.lock);
	return pp;
}

void kr_sleeping_clear(const struct p *pp)
{
	kr_and(&sched.hdr->sleeping[pp->id / 64], ~(1ULL << (pp->id % 64)));
}

void kr_count_handoff(void)
{
	kr_add(&sched.nr_handoffs, 1);
}

void kr_p_start(struct p *pp)
{
	int err = sched.assist->start(pp, kr_owner(pp));

	if (!err)
		return;
	if (err != -EAGAIN)
		kr_throw("proc: idle P has an owner");
	kr_pending_put(pp);
	sched.assist->service_poke();
}

/*
 * A P whose holder sleeps in the kernel, or NULL; look on from *@id. The hint
 * may be stale either way: the owner word decides.
 */
static struct p *sleeping_next(uint32_t *id, uint64_t *ret_owner)
{
	while (*id < kr_nr_procs()) {
		uint64_t bits = READ_ONCE(sched.hdr->sleeping[*id / 64]) >>
				(*id % 64);
		struct p *pp;

		if (!bits) {
			*id = (*id / 64 + 1) * 64;
			continue;
		}
		*id += (uint32_t)__builtin_ctzll(bits);
		if (*id >= kr_nr_procs())
			break;
		pp = sched.allp[(*id)++];
		*ret_owner = kr_owner(pp);
		if (KAUS_OWNER_STATE(*ret_owner) == KAUS_P_SLEEPING)
			return pp;
	}
	return NULL;
}

/* A P whose holder sleeps in the kernel can do the work. */
static void wake_sleeping_p(void)
{
	uint64_t owner;
	uint32_t id = 0;
	struct p *pp;

	while ((pp = sleeping_next(&id, &owner))) {
		int err = sched.assist->start(pp, owner);

		if (!err)
			kr_count_handoff();
		else if (err == -EAGAIN)
			sched.assist->service_poke();
		if (err != -EBUSY)
			return;
	}
}

bool kr_p_take_needy(struct m *mp)
{
	struct p *pp = kr_pending_get();
	uint64_t owner;
	uint32_t id = 0;

	if (pp) {
		kr_p_acquire(mp, pp);
		return true;
	}
	while ((pp = sleeping_next(&id, &owner))) {
		uint64_t mine = KAUS_OWNER(KAUS_P_RUNNING, mp->id,
					   KAUS_OWNER_GEN(owner) + 1);

		/*
		 * As kr_wakep() found it and had no M for it: what waits
		 * elsewhere will do if nobody looks for it.
		 */
		if (!kr_p_needs_m(pp) &&
		    (READ_ONCE(sched.nr_spinning) || !kr_work_anywhere()))
			continue;
		if (!kr_cas(&pp->slot->owner, owner, mine))
			continue;
		kr_sleeping_clear(pp);
		kr_count_handoff();
		kr_p_take(mp, pp);
		return true;
	}
	return false;
}

void kr_wakep_slow(void)
{
	struct p *pp;

	if (kr_chance_on() && kr_chance_skips_wake())
		return;
	do {
		if (READ_ONCE(sched.nr_spinning) ||
		    !kr_cas(&sched.nr_spinning, 0, 1))
			return;
		pp = kr_idle_get();
		if (pp) {
			pp->start_spinning = true;
			kr_p_start(pp);
			return;
		}
		/* Others believed meanwhile that somebody looks for work. */
		kr_sub(&sched.nr_spinning, 1);
	} while (READ_ONCE(sched.nr_idle));
	wake_sleeping_p();
}
