/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The assist by kaus.ko: each operation is one ioctl of uapi/linux/kaus.h.
 * Preemption and hand-off need no call at all.
 */
#include "sched/sched.h"

static int dev_fd = -1;

static int ioctl_or_die(unsigned int cmd, void *arg)
{
	int err = kr_kdev_ioctl(dev_fd, cmd, arg);

	if (err == -ESHUTDOWN || err == -EBADF)
		kr_throw("the program closed the runtime's /dev/kaus");
	return err;
}

static int module_init(void *region, uint64_t len, uint32_t nr_procs,
		       uint32_t nr_workers)
{
	const uint64_t needed = KAUS_FEAT_PREEMPT | KAUS_FEAT_KICK |
				KAUS_FEAT_HANDOFF;
	struct kaus_info info = { .size = sizeof(info) };
	struct kaus_setup setup = {
		.size = sizeof(setup),
		.addr = (uint64_t)(uintptr_t)region,
		.len = len,
		.nr_procs = nr_procs,
		.nr_workers = nr_workers,
		.tramp_lo = (uint64_t)(uintptr_t)kr_tramp,
		.tramp_hi = (uint64_t)(uintptr_t)kr_tramp_end,
	};
	int fd = kr_kdev_open();
	int err;

	if (fd < 0)
		return fd;
	err = kr_kdev_ioctl(fd, KAUS_IOC_INFO, &info);
	if (!err && (info.abi_major != KAUS_ABI_MAJOR ||
		     (info.features & needed) != needed))
		err = -EPROTONOSUPPORT;
	if (!err)
		err = kr_kdev_ioctl(fd, KAUS_IOC_SETUP, &setup);
	if (err) {
		kr_kdev_close(fd);
		return err;
	}
	dev_fd = fd;
	return 0;
}

static int module_thread_start(struct m *mp)
{
	struct kaus_register reg = {
		.size = sizeof(reg),
		.worker = mp->id,
	};

	return ioctl_or_die(KAUS_IOC_REGISTER, &reg);
}

static int module_started(void)
{
	return 0;
}

static void module_stop(void)
{
	struct kaus_register reg = { .size = sizeof(reg), .worker = 0 };

	/* The service thread becomes the program's again. */
	kr_kdev_ioctl(dev_fd, KAUS_IOC_UNREGISTER, &reg);
}

static int wake_worker(uint32_t worker, struct p *pp, uint64_t owner)
{
	struct kaus_wake wake = {
		.size = sizeof(wake),
		.worker = worker,
		.proc = pp ? pp->id : KAUS_NONE,
		.owner = owner,
	};

	return ioctl_or_die(KAUS_IOC_WAKE, &wake);
}

static int module_start(struct p *pp, uint64_t owner)
{
	return wake_worker(KAUS_ANY, pp, owner);
}

static int module_give(struct m *mp, struct p *pp, uint64_t owner)
{
	return wake_worker(mp->id, pp, owner);
}

static void module_wake(struct m *mp)
{
	wake_worker(mp->id, NULL, 0);
}

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

	/* A signal handler of the program ran on this thread: park again. */
	do {
		err = ioctl_or_die(KAUS_IOC_PARK, &arg);
	} while (err == -EINTR);
	*ret_p = !err && arg.proc < sched.nr_procs ? sched.allp[arg.proc] :
						     NULL;
	return err;
}

static int module_park(struct m *mp, bool pool, uint64_t deadline_ns,
		       struct p **ret_p)
{
	return park(mp, pool ? KAUS_PARK_POOL : 0, deadline_ns, ret_p);
}

static int module_handoff(struct m *mp, bool pool, struct m *target,
			  struct p *pp, uint64_t owner, struct p **ret_p)
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
	int err = ioctl_or_die(KAUS_IOC_HANDOFF, &arg);

	*ret_p = NULL;
	if (!err) {
		if (arg.proc < sched.nr_procs)
			*ret_p = sched.allp[arg.proc];
		return 0;
	}
	if (!arg.woken)
		return err;
	return module_park(mp, pool, KAUS_FOREVER, ret_p);
}

static void module_service_wait(struct m *mp)
{
	struct p *pp;

	park(mp, KAUS_PARK_SERVICE, KAUS_FOREVER, &pp);
}

static void module_service_poke(void)
{
	module_wake(sched.allm[0]);
}

static void module_busy(void)
{
}

const struct kr_assist kr_assist_module = {
	.name = "module",
	.default_slice_ns = 100000,
	.binds = true,
	.init = module_init,
	.thread_start = module_thread_start,
	.started = module_started,
	.stop = module_stop,
	.start = module_start,
	.give = module_give,
	.wake = module_wake,
	.park = module_park,
	.handoff = module_handoff,
	.service_wait = module_service_wait,
	.service_poke = module_service_poke,
	.busy = module_busy,
};
