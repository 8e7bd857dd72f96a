/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist by kaus.ko: each operation is one ioctl of uapi/linux/kaus.h.
 * Preemption and hand-off need no call at all.
 *
 * The module may go at any moment. What has not been done when it says so is
 * done by signals and futexes: attach.c tells how that fits together.
 */
#include "sched/assist_signal.h"
#include "sched/attach.h"
#include "sched/sched.h"

/*
 * The module could not do it. True: because its epoch is over, as others or
 * this error may have found out, and it is to be done anew.
 */
static bool is_over(uint32_t epoch, int err)
{
	if (likely(!err))
		return false;
	if (kr_epoch() != epoch)
		return true;
	if (!kr_attach_is_over(err))
		return false;
	kr_attach_over(epoch);
	return true;
}

static int module_thread_start(struct m *mp)
{
	uint32_t epoch;

	/* The service runs no goroutines. The module may go some day. */
	if (mp->id)
		kr_signal_unblock(KR_PREEMPT_SIGNAL);
	do {
		epoch = kr_epoch();
	} while (kr_has_module(epoch) && !kr_attach_join(mp, epoch, NULL));
	return 0;
}

static void module_stop(void)
{
	struct kaus_register reg = { .size = sizeof(reg), .worker = 0 };

	/* The service thread becomes the program's again. */
	if (kr_has_module(kr_epoch()))
		kr_attach_ioctl(KAUS_IOC_UNREGISTER, &reg);
	kr_sysmon_stop();
}

static int wake_worker(uint32_t worker, struct p *pp, uint64_t owner)
{
	struct kaus_wake wake = {
		.size = sizeof(wake),
		.worker = worker,
		.proc = pp ? pp->id : KAUS_NONE,
		.owner = owner,
	};

	return kr_attach_ioctl(KAUS_IOC_WAKE, &wake);
}

static int module_start(struct p *pp, uint64_t owner)
{
	for (;;) {
		uint32_t epoch = kr_epoch();
		int err;

		if (unlikely(!kr_has_module(epoch)))
			return kr_assist_signal.start(pp, owner);
		err = wake_worker(KAUS_ANY, pp, owner);
		if (likely(!is_over(epoch, err)))
			return err;
	}
}

static int module_give(struct m *mp, struct p *pp, uint64_t owner)
{
	for (;;) {
		uint32_t epoch = kr_epoch();
		int err;

		if (unlikely(!kr_is_joined(mp, epoch)))
			return kr_assist_signal.give(mp, pp, owner);
		err = wake_worker(mp->id, pp, owner);
		if (likely(!is_over(epoch, err)))
			return err;
	}
}

static void module_wake(struct m *mp)
{
	uint32_t epoch = kr_epoch();

	/* It is gone, or the module is: it parks anew, or need not be woken. */
	if (!kr_is_joined(mp, epoch))
		kr_assist_signal.wake(mp);
	else
		is_over(epoch, wake_worker(mp->id, NULL, 0));
}

/* -EINTR: a signal handler of the program ran on this thread. */
static int park(struct m *mp, uint32_t flags, uint64_t deadline_ns,
		struct p **ret_p)
{
	struct kaus_park arg = {
		.size = sizeof(arg),
		.flags = flags,
		.worker = mp->id,
		.home = mp->home,
		.deadline_ns = deadline_ns,
		.proc = KAUS_NONE,
	};
	int err;

	err = kr_attach_ioctl(KAUS_IOC_PARK, &arg);
	*ret_p = !err && arg.proc < kr_nr_procs() ? sched.allp[arg.proc] :
						     NULL;
	return err;
}

static int module_park(struct m *mp, bool pool, uint64_t deadline_ns,
		       struct p **ret_p)
{
	for (;;) {
		uint32_t epoch = kr_epoch();
		int err;

		if (unlikely(!kr_has_module(epoch)))
			return kr_assist_signal.park(mp, pool, deadline_ns,
						     ret_p);
		if (unlikely(!kr_is_joined(mp, epoch)) &&
		    !kr_attach_join(mp, epoch, NULL))
			continue;
		/* Given in user space, before it had joined. */
		if (unlikely(READ_ONCE(mp->token)) &&
		    kr_pool_fetch(mp, ret_p))
			return 0;
		err = park(mp, pool ? KAUS_PARK_POOL : 0, deadline_ns, ret_p);
		if (likely(err != -EINTR && !is_over(epoch, err)))
			return err;
	}
}

/* One call for both. 1: not even the first half has been done, do it anew. */
static int give_and_park(struct m *mp, uint32_t epoch, bool pool,
			 struct m *target, struct p *pp, uint64_t owner,
			 struct p **ret_p)
{
	struct kaus_handoff arg = {
		.size = sizeof(arg),
		.flags = pool ? KAUS_PARK_POOL : 0,
		.worker = mp->id,
		.home = mp->home,
		.deadline_ns = KAUS_FOREVER,
		.target = target ? target->id : KAUS_ANY,
		.target_proc = pp->id,
		.owner = owner,
		.proc = KAUS_NONE,
	};
	int err = kr_attach_ioctl(KAUS_IOC_HANDOFF, &arg);

	if (!err) {
		if (arg.proc < kr_nr_procs())
			*ret_p = sched.allp[arg.proc];
		return 0;
	}
	if (arg.woken)
		return module_park(mp, pool, KAUS_FOREVER, ret_p);
	return is_over(epoch, err) ? 1 : err;
}

static int module_handoff(struct m *mp, bool pool, struct m *target,
			  struct p *pp, uint64_t owner, struct p **ret_p)
{
	uint32_t epoch = kr_epoch();
	int err = 1;

	*ret_p = NULL;
	if (likely(kr_is_joined(mp, epoch) &&
		   (!target || kr_is_joined(target, epoch))))
		err = give_and_park(mp, epoch, pool, target, pp, owner, ret_p);
	if (likely(err <= 0))
		return err;
	/* Joining comes after the gift: see collect_locked(). */
	err = target ? module_give(target, pp, owner) :
		       module_start(pp, owner);
	if (err)
		return err;
	return module_park(mp, pool, KAUS_FOREVER, ret_p);
}

static void module_kick(struct m *mp)
{
	struct kaus_kick kick = { .size = sizeof(kick), .worker = mp->id };
	uint32_t epoch = kr_epoch();

	if (kr_is_joined(mp, epoch) && kr_attach_has_regs() &&
	    !is_over(epoch, kr_attach_ioctl(KAUS_IOC_KICK, &kick)))
		return;
	kr_assist_signal.kick(mp);
}

/*
 * The event was set before this look: should the thread come on a CPU again,
 * the module finds it, even if it is drained meanwhile. Not asleep in a system
 * call is -EBUSY: on a CPU, or interrupted, and then it soon runs.
 */
static bool module_is_off(struct m *mp)
{
	struct kaus_regs arg = { .size = sizeof(arg), .worker = mp->id };

	if (!kr_is_joined(mp, kr_epoch()) || !kr_attach_has_regs())
		return kr_assist_signal.is_off(mp);
	if (READ_ONCE(mp->slot->on_cpu) ||
	    kr_attach_ioctl(KAUS_IOC_REGS, &arg))
		return false;
	mp->regs = (struct kr_regs){
		.sp = arg.sp, .bx = arg.bx, .bp = arg.bp, .r12 = arg.r12,
		.r13 = arg.r13, .r14 = arg.r14, .r15 = arg.r15,
	};
	return true;
}

static void module_service_wait(struct m *mp)
{
	uint32_t epoch = kr_epoch();
	struct p *pp;

	if (!kr_has_module(epoch)) {
		kr_assist_signal.service_wait(mp);
		return;
	}
	if (!kr_is_joined(mp, epoch) && !kr_attach_join(mp, epoch, NULL))
		return;
	if (kr_service_token_take())
		return;
	is_over(epoch, park(mp, KAUS_PARK_SERVICE, KAUS_FOREVER, &pp));
}

static void module_service_poke(void)
{
	uint32_t epoch = kr_epoch();
	int err;

	if (kr_has_module(epoch)) {
		err = wake_worker(0, NULL, 0);
		if (!err)
			return;
		is_over(epoch, err);
	}
	/*
	 * It has yet to join, and looks for the token after that; or it has
	 * joined meanwhile.
	 */
	kr_assist_signal.service_poke();
	if (kr_has_module(kr_epoch()))
		wake_worker(0, NULL, 0);
}

const struct kr_assist kr_assist_module = {
	.name = "module",
	.default_slice_ns = 100000,
	.binds = true,
	.nr_threads = 1,
	.tells_on_cpu = true,
	.init = kr_attach_first,
	.thread_start = module_thread_start,
	.started = kr_sysmon_start,
	.stop = module_stop,
	.start = module_start,
	.give = module_give,
	.wake = module_wake,
	.park = module_park,
	.handoff = module_handoff,
	.kick = module_kick,
	.is_off = module_is_off,
	.service_wait = module_service_wait,
	.service_poke = module_service_poke,
	.busy = kr_sysmon_busy,
};
