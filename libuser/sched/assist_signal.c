/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist without a module: futexes for parking, a signal for preemption,
 * the sysmon thread (sysmon.c) to find out who needs it.
 *
 * The signal handler does what the module does: it leaves the instruction
 * pointer in the worker's slot and returns into the trampoline. So everything
 * above is the same code in both cases. SIGURG, as in Go: debuggers pass it
 * on, libraries do not use it, and it is ignored by default.
 */
#include <ucontext.h>

#include "sched/assist_signal.h"
#include "sched/sched.h"

#define ALTSTACK_BYTES	(64UL << 10)
#define EFLAGS_TF	0x100

/* pool.lock also protects grant, token and in_pool of every M. */
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
	pool_remove_locked(mp);
	WRITE_ONCE(mp->token, 1);
	kr_unlock(&pool.lock);
	kr_futex_wake(&mp->token, 1);
}

static int signal_park(struct m *mp, bool in_pool, uint64_t deadline_ns,
		       struct p **ret_p)
{
	int err = 0;

	kr_lock(&pool.lock);
	if (in_pool && !mp->token) {
		mp->pool_next = pool.head;
		pool.head = mp;
		mp->in_pool = true;
	}
	kr_unlock(&pool.lock);
	while (!READ_ONCE(mp->token) && err != -ETIMEDOUT)
		err = kr_futex_wait(&mp->token, 0, deadline_ns);
	kr_lock(&pool.lock);
	pool_remove_locked(mp);
	if (mp->token)
		err = 0;
	WRITE_ONCE(mp->token, 0);
	*ret_p = mp->grant;
	mp->grant = NULL;
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

static void signal_service_wait(struct m *mp)
{
	(void)mp;
	while (!kr_xchg(&service_token, 0))
		kr_futex_wait(&service_token, 0, UINT64_MAX);
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
 */
static bool may_redirect(const struct kaus_worker *slot, const greg_t *regs)
{
	uint64_t ip = (uint64_t)regs[REG_RIP];
	uint64_t sp = (uint64_t)regs[REG_RSP];

	return !slot->defer && !slot->busy &&
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

static int signal_init(void *region, uint64_t len, uint32_t nr_procs,
		       uint32_t nr_workers)
{
	(void)region;
	(void)len;
	(void)nr_procs;
	(void)nr_workers;
	return kr_signal_install(KR_PREEMPT_SIGNAL, on_preempt);
}

static int signal_thread_start(struct m *mp)
{
	void *stack;
	int err;

	if (!mp->id)
		return 0;	/* the service runs no goroutines */
	err = kr_vm_map(ALTSTACK_BYTES, false, &stack);
	if (err)
		return err;
	err = kr_signal_altstack(stack, ALTSTACK_BYTES);
	if (err)
		return err;
	kr_signal_unblock(KR_PREEMPT_SIGNAL);
	return 0;
}

const struct kr_assist kr_assist_signal = {
	.name = "signal",
	.default_slice_ns = 10000000,
	.init = signal_init,
	.thread_start = signal_thread_start,
	.started = kr_sysmon_start,
	.stop = kr_sysmon_stop,
	.start = signal_start,
	.give = signal_give,
	.wake = signal_wake,
	.park = signal_park,
	.handoff = signal_handoff,
	.service_wait = signal_service_wait,
	.service_poke = signal_service_poke,
	.busy = kr_sysmon_busy,
};
