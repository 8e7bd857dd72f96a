/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist without a module: futexes for parking, a signal for preemption,
 * the sysmon thread (sysmon.c) to find out who needs it.
 *
 * The signal handler does what the module does: it leaves the instruction
 * pointer in the worker's slot and returns into the trampoline. So everything
 * above is the same code in both cases. SIGURG, as in Go: debuggers pass it
 * on, libraries do not use it, and it is ignored by default.
 *
 * The pool below also has the Ms that the module does not know yet or no
 * longer. While it is there the operations pass on to it what it does know.
 */
#include <ucontext.h>

#include "sched/assist_signal.h"
#include "sched/attach.h"
#include "sched/sched.h"

#define EFLAGS_TF	0x100

/* pool.lock also protects sched.epoch, and of every M what m.h says. */
static struct {
	uint32_t lock;
	struct m *head;		/* LIFO: the warmest first */
} pool;

static uint32_t service_token;

static void pool_remove_locked(struct m *mp)
{
	struct m **link;

	if (!mp->in_pool)
		return;
	for (link = &pool.head; *link != mp; link = &(*link)->pool_next)
		;
	*link = mp->pool_next;
	mp->in_pool = false;
}

/* Give @pp to @mp. False: the owner word has changed. */
static bool grant_locked(struct m *mp, struct p *pp, uint64_t owner)
{
	uint64_t mine = KAUS_OWNER(KAUS_P_RUNNING, mp->id,
				   KAUS_OWNER_GEN(owner) + 1);

	if (!kr_owner_cas(pp, owner, mine))
		return false;
	if (KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING)
		kr_sleeping_clear(pp);
	pool_remove_locked(mp);
	mp->grant = pp;
	WRITE_ONCE(mp->token, 1);
	return true;
}

static int signal_start(struct p *pp, uint64_t owner)
{
	struct m *mp;
	int err = 0;

	kr_lock(&pool.lock);
	if (unlikely(kr_has_module(sched.epoch))) {
		kr_unlock(&pool.lock);
		return kr_assist_module.start(pp, owner);
	}
	mp = pool.head;
	if (!mp)
		err = -EAGAIN;
	else if (!grant_locked(mp, pp, owner))
		err = -EBUSY;
	kr_unlock(&pool.lock);
	if (!err)
		kr_futex_wake(&mp->token, 1);
	return err;
}

static int signal_give(struct m *mp, struct p *pp, uint64_t owner)
{
	int err = 0;

	kr_lock(&pool.lock);
	if (unlikely(kr_is_joined(mp, sched.epoch))) {
		kr_unlock(&pool.lock);
		return kr_assist_module.give(mp, pp, owner);
	}
	if (mp->grant || !grant_locked(mp, pp, owner))
		err = -EBUSY;
	kr_unlock(&pool.lock);
	if (!err)
		kr_futex_wake(&mp->token, 1);
	return err;
}

static void signal_wake(struct m *mp)
{
	kr_lock(&pool.lock);
	if (unlikely(kr_is_joined(mp, sched.epoch))) {
		kr_unlock(&pool.lock);
		kr_assist_module.wake(mp);
		return;
	}
	pool_remove_locked(mp);
	WRITE_ONCE(mp->token, 1);
	kr_unlock(&pool.lock);
	kr_futex_wake(&mp->token, 1);
}

/* ---- where the two assists meet ---- */

bool kr_pool_set_epoch(uint32_t old, uint32_t epoch)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);
	bool ok;

	kr_lock(&pool.lock);
	ok = sched.epoch == old;
	if (ok)
		smp_store_release(&sched.epoch, epoch);
	for (uint32_t id = 1; ok && kr_has_module(epoch) && id < nr; id++) {
		struct m *mp = sched.allm[id];

		if (!mp->parked)
			continue;
		/* It is to park in the kernel. */
		pool_remove_locked(mp);
		WRITE_ONCE(mp->token, 1);
		kr_futex_wake(&mp->token, 1);
	}
	kr_unlock(&pool.lock);
	return ok;
}

/* Nobody has it in hand: whoever has work for it may take it. */
static void set_sleeping(struct p *pp, uint64_t owner)
{
	if (kr_owner_cas(pp, owner, kr_owner_in(owner, KAUS_P_SLEEPING)))
		kr_or(&sched.hdr->sleeping[pp->id / 64],
		      1ULL << (pp->id % 64));
}

/*
 * The module that @mp was a worker of may have given it a P, and gone before
 * that was fetched: a P that names it and that it does not carry. Called where
 * @mp comes for a P, has just got @carried, or has none, and has handed on the
 * one it had. A second P is one too many. True: there was one.
 */
static bool collect_locked(struct m *mp, const struct p *carried)
{
	bool many = false;

	if (likely(!mp->epoch || mp->epoch == sched.epoch))
		return false;
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];
		uint64_t owner = kr_owner(pp);

		/* Or STOPPED, for a moment: it is being probed. */
		if (KAUS_OWNER_WORKER(owner) != mp->id || pp == carried ||
		    pp == mp->grant ||
		    (KAUS_OWNER_STATE(owner) != KAUS_P_RUNNING &&
		     KAUS_OWNER_STATE(owner) != KAUS_P_STOPPED))
			continue;
		if (mp->grant) {
			set_sleeping(pp, kr_owner_in(owner, KAUS_P_RUNNING));
			many = true;
			continue;
		}
		mp->grant = pp;
		WRITE_ONCE(mp->token, 1);
	}
	return many;
}

void kr_pool_join(struct m *mp, uint32_t epoch, const struct p *carried)
{
	bool many;

	kr_lock(&pool.lock);
	many = collect_locked(mp, carried);
	WRITE_ONCE(mp->epoch, epoch);
	kr_unlock(&pool.lock);
	if (many)
		kr_wakep();
}

void kr_pool_leave(struct m *mp)
{
	struct p *pp;

	kr_lock(&pool.lock);
	collect_locked(mp, NULL);
	pp = mp->grant;
	if (pp)
		set_sleeping(pp, kr_owner_in(kr_owner(pp), KAUS_P_RUNNING));
	mp->grant = NULL;
	WRITE_ONCE(mp->token, 0);
	WRITE_ONCE(mp->epoch, 0);
	kr_unlock(&pool.lock);
	if (pp)
		kr_wakep();
}

static struct p *fetch_locked(struct m *mp)
{
	struct p *pp = mp->grant;

	pool_remove_locked(mp);
	WRITE_ONCE(mp->token, 0);
	mp->grant = NULL;
	return pp;
}

bool kr_pool_fetch(struct m *mp, struct p **ret_p)
{
	bool any;

	kr_lock(&pool.lock);
	any = mp->token;
	*ret_p = fetch_locked(mp);
	kr_unlock(&pool.lock);
	return any;
}

static int signal_park(struct m *mp, bool in_pool, uint64_t deadline_ns,
		       struct p **ret_p)
{
	bool exact;
	int err = 0;

	kr_lock(&pool.lock);
	/* A second P is SLEEPING now: sysmon will look at it. */
	collect_locked(mp, NULL);
	if (mp->epoch != sched.epoch)
		WRITE_ONCE(mp->epoch, 0);
	if (unlikely(kr_has_module(sched.epoch) && !mp->token)) {
		kr_unlock(&pool.lock);
		return kr_assist_module.park(mp, in_pool, deadline_ns, ret_p);
	}
	if (in_pool && !mp->token) {
		mp->pool_next = pool.head;
		pool.head = mp;
		mp->in_pool = true;
	}
	mp->parked = true;
	kr_unlock(&pool.lock);
	exact = kr_clock_exact_begin(deadline_ns);
	while (!READ_ONCE(mp->token) && err != -ETIMEDOUT)
		err = kr_futex_wait(&mp->token, 0, deadline_ns);
	kr_clock_exact_end(exact);
	kr_lock(&pool.lock);
	mp->parked = false;
	if (mp->token)
		err = 0;
	*ret_p = fetch_locked(mp);
	kr_unlock(&pool.lock);
	return err;
}

static int signal_handoff(struct m *mp, bool in_pool, struct m *target,
			  struct p *pp, uint64_t owner, struct p **ret_p)
{
	int err;

	*ret_p = NULL;
	if (target)
		err = signal_give(target, pp, owner);
	else
		err = signal_start(pp, owner);
	if (err)
		return err;
	return signal_park(mp, in_pool, KAUS_FOREVER, ret_p);
}

static void signal_kick(struct m *mp)
{
	kr_or(&mp->slot->events, KAUS_EV_KICK);
	kr_thread_kill(mp->tid, KR_PREEMPT_SIGNAL);
}

/* It wakes up for the signal, sooner or later: only it knows its registers. */
static bool signal_is_off(struct m *mp)
{
	(void)mp;
	return false;
}

bool kr_service_token_take(void)
{
	return READ_ONCE(service_token) && kr_xchg(&service_token, 0);
}

static void signal_service_wait(struct m *mp)
{
	while (!kr_service_token_take()) {
		if (kr_has_module(kr_epoch())) {
			kr_assist_module.service_wait(mp);
			return;
		}
		kr_futex_wait(&service_token, 0, UINT64_MAX);
	}
}

static void signal_service_poke(void)
{
	if (!kr_xchg(&service_token, 1))
		kr_futex_wake(&service_token, 1);
}

/*
 * May the interrupted code be sent into the trampoline? The same conditions as
 * the module's; the kernel has already moved a thread in an rseq critical
 * section to its abort handler before it built the signal frame.
 *
 * ThreadSanitizer keeps signals back and runs handlers later, on a copy of the
 * frame: there nothing can be redirected, and goroutines are preempted only
 * where they leave the runtime.
 */
static bool may_redirect(const struct kaus_worker *slot, const greg_t *regs)
{
	uint64_t ip = (uint64_t)regs[REG_RIP];
	uint64_t sp = (uint64_t)regs[REG_RSP];

	return !KR_TSAN && !slot->defer && !slot->busy &&
	       sp >= slot->stack_lo && sp < slot->stack_hi &&
	       (ip < (uint64_t)(uintptr_t)kr_tramp ||
		ip >= (uint64_t)(uintptr_t)kr_tramp_end) &&
	       !(regs[REG_EFL] & EFLAGS_TF);
}

static void on_preempt(int sig, siginfo_t *info, void *ucontext)
{
	greg_t *regs = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
	struct m *mp = kr_self();
	struct kaus_worker *slot;

	(void)sig;
	(void)info;
	if (!mp)
		return;
	slot = mp->slot;
	/* What cannot be done now kr_exit() does, or the next signal. */
	kr_or(&slot->events, KAUS_EV_PREEMPT);
	if (!may_redirect(slot, regs))
		return;
	slot->saved_ip = (uint64_t)regs[REG_RIP];
	slot->busy = 1;
	slot->nr_redirects++;
	regs[REG_RIP] = (greg_t)(uintptr_t)kr_tramp;
}

int kr_preempt_signal_install(void)
{
	return kr_signal_install(KR_PREEMPT_SIGNAL, on_preempt);
}

static int signal_init(void *region, uint32_t nr_procs, uint32_t max_procs,
		       uint32_t nr_workers)
{
	(void)region;
	(void)nr_procs;
	(void)max_procs;
	(void)nr_workers;
	return kr_preempt_signal_install();
}

static int signal_thread_start(struct m *mp)
{
	/* The service runs no goroutines. */
	if (mp->id)
		kr_signal_unblock(KR_PREEMPT_SIGNAL);
	return 0;
}

const struct kr_assist kr_assist_signal = {
	.name = "signal",
	.default_slice_ns = 10000000,
	.needs_notice = true,
	.nr_threads = 1,
	.init = signal_init,
	.thread_start = signal_thread_start,
	.started = kr_sysmon_start,
	.stop = kr_sysmon_stop,
	.start = signal_start,
	.give = signal_give,
	.wake = signal_wake,
	.park = signal_park,
	.handoff = signal_handoff,
	.kick = signal_kick,
	.is_off = signal_is_off,
	.service_wait = signal_service_wait,
	.service_poke = signal_service_poke,
	.busy = kr_sysmon_busy,
};
