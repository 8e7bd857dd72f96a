/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The module comes and goes while goroutines run.
 *
 * DOC: sched.epoch counts the changes; the module helps while it is odd. An
 * operation of the assist reads it, acts, and if the module answers that the
 * group has ended it makes the epoch even, whoever is first, and is done once
 * more by the other assist. So after a drain everybody goes on at once, each
 * where he is: parked Ms come out of the kernel with an error and park in the
 * futex pool, and sysmon begins to look around. The world is not stopped for
 * that. What the kernel knew and the runtime did not:
 *
 *	a P given to an	Its owner word names the M. In the pool, where it
 *	M that has not	comes next and has no P, it looks for such words, once
 *	fetched it	(collect_locked()).
 *	a P of a	SLEEPING with the sleeper's name. Sysmon finds it, as
 *	sleeper		does the sleeper (kr_reacquire()).
 *	a kick that was	is delivered all the same, or a stop of the world would
 *	not delivered	have been deceived (protocol 3 in <linux/kaus.h>).
 *	tokens		Only the service thread gets any; it looks anyway.
 *
 * Then sysmon's thread lets go of the device, which lets the module be
 * unloaded. It stops the Ps for that, so that a stop of the world that relies
 * on kicks has ended before. Others may still be about to use the descriptor:
 * its number is not given up but made to stand for something that knows none
 * of our ioctls, and is used again for the next device. That is the descriptor
 * for inotify (below), for a program may have none left to make another.
 *
 * When the device appears the same thread makes a group on the same region,
 * stops the Ps and makes the epoch odd. A worker must register by itself, and
 * cannot be made to: it may sleep in the kernel for hours. So an M joins
 *
 *	- before it parks: those in the futex pool are all woken for it;
 *	- when it gets a P. As all Ps are stopped at the change of the epoch,
 *	  nobody carries one but those who have got it since.
 *
 * Until it has joined, an M is given Ps in user space, even in an odd epoch:
 * m.epoch, which it writes with pool.lock held, says whether the kernel knows
 * it. What is left are Ms in code without a P. If they sleep they need no
 * help, if they compute sysmon sends them a signal, and for that goes on to
 * look, slowly, until there is none.
 *
 * How the device is noticed: sysmon's thread reads an inotify descriptor on
 * /dev each 100 ms while it is awake, which it is not in an idle process. That
 * one goes without the module until it has something to do. Rejected: a thread
 * that sleeps in inotify (a thread for each process, and all of them wake up
 * and attach in the same moment); to try open() instead (a program may have
 * forbidden itself that, seccomp(2), and would be killed).
 */
#include "sched/attach.h"

#include "mem/pages.h"
#include "sched/assist_signal.h"
#include "sched/sched.h"
#include "sched/stw.h"

#define RETRY_NS	100000000ULL
#define BETWEEN_NS	2000000000ULL

static struct {
	int fd;			/* of the device, or what stands in its place */
	uint64_t features;	/* the module's, KAUS_FEAT_* */
	int watch;		/* inotify, -1: there is none */
	bool held;		/* fd is a device with a group */
	uint64_t retry_ns;	/* it could not be let go of: not before that */
	uint64_t gone_ns;	/* when it went */
	void *region;
	uint32_t nr_workers;
} dev = { .fd = -1, .watch = -1 };

bool kr_attach_has_regs(void)
{
	return READ_ONCE(dev.features) & KAUS_FEAT_REGS;
}

int kr_attach_ioctl(unsigned int cmd, void *arg)
{
	return kr_kdev_ioctl(READ_ONCE(dev.fd), cmd, arg);
}

bool kr_attach_is_over(int err)
{
	if (err == -EBADF ||
	    (err == -ESHUTDOWN &&
	     READ_ONCE(sched.hdr->shutdown) == KAUS_SHUTDOWN_CLOSED))
		kr_throw("the program closed the runtime's /dev/kaus");
	/* The last two are from what stands in its place, and a new device. */
	return err == -ESHUTDOWN || err == -ENOTTY || err == -ENXIO;
}

/* @ret_max: the most Ps it can do with. */
static int check(int fd, uint64_t needed, uint32_t *ret_max)
{
	struct kaus_info info = { .size = sizeof(info) };
	int err = kr_kdev_ioctl(fd, KAUS_IOC_INFO, &info);

	if (err)
		return err;
	if (info.abi_major != KAUS_ABI_MAJOR ||
	    (info.features & needed) != needed)
		return -EPROTONOSUPPORT;
	*ret_max = info.max_procs;
	WRITE_ONCE(dev.features, info.features);
	return 0;
}

static int setup(int fd, uint32_t flags)
{
	struct kaus_setup arg = {
		.size = sizeof(arg),
		.flags = flags,
		.addr = (uint64_t)(uintptr_t)dev.region,
		.len = KAUS_REGION_SIZE(sched.max_procs, dev.nr_workers),
		.nr_procs = sched.max_procs,
		.nr_workers = dev.nr_workers,
		.tramp_lo = (uint64_t)(uintptr_t)kr_tramp,
		.tramp_hi = (uint64_t)(uintptr_t)kr_tramp_end,
	};

	int err;

	/* To a module that does not know them these are reserved. */
	kr_pages_publish(NULL);
	WRITE_ONCE(sched.hdr->wanted, 0);
	WRITE_ONCE(sched.hdr->wanted_why, 0);
	err = kr_kdev_ioctl(fd, KAUS_IOC_SETUP, &arg);
	if (!err && (dev.features & KAUS_FEAT_PAGES))
		kr_pages_publish((uint64_t *)&sched.hdr->returnable);
	return err;
}

#define NEEDED	(KAUS_FEAT_PREEMPT | KAUS_FEAT_KICK | KAUS_FEAT_HANDOFF)

int kr_attach_first(void *region, uint32_t nr_procs, uint32_t max_procs,
		    uint32_t nr_workers)
{
	uint32_t max = max_procs;
	int fd, err;

	dev.region = region;
	dev.nr_workers = nr_workers;
	fd = kr_kdev_open();
	if (fd < 0)
		return fd;
	err = check(fd, NEEDED, &max);
	/* Less room than there might be does for those that are needed. */
	if (!err && max < max_procs)
		sched.max_procs = max < nr_procs ? nr_procs : max;
	if (!err && !kr_attach_has_regs())
		err = kr_preempt_signal_install();
	if (!err)
		err = setup(fd, 0);
	if (err) {
		sched.max_procs = max_procs;
		kr_kdev_close(fd);
		return err;
	}
	dev.fd = fd;
	dev.held = true;
	kr_pool_set_epoch(0, 1);
	return 0;
}

void kr_attach_watch(void)
{
	if (dev.watch < 0)
		dev.watch = kr_kdev_watch();
}

/* A child of fork() must not keep the device busy. */
void kr_attach_forked(void)
{
	if (dev.held)
		kr_kdev_close(dev.fd);
	dev.held = false;
}

bool kr_attach_join(struct m *mp, uint32_t epoch, const struct p *carried)
{
	struct kaus_register reg = {
		.size = sizeof(reg),
		.worker = mp->id,
	};

	if (kr_attach_ioctl(KAUS_IOC_REGISTER, &reg)) {
		kr_attach_over(epoch);
		return false;
	}
	/* It took so long that this may be the group of another epoch. */
	if (unlikely(kr_epoch() != epoch)) {
		kr_attach_ioctl(KAUS_IOC_UNREGISTER, &reg);
		return false;
	}
	kr_pool_join(mp, epoch, carried);
	return true;
}

void kr_attach_leave(struct m *mp)
{
	struct kaus_register reg = {
		.size = sizeof(reg),
		.worker = mp->id,
	};
	uint32_t epoch = kr_epoch();
	int err;

	if (kr_is_joined(mp, epoch)) {
		err = kr_attach_ioctl(KAUS_IOC_UNREGISTER, &reg);
		/* If the group has ended the kernel has let go of the thread. */
		if (err && kr_attach_is_over(err))
			kr_attach_over(epoch);
		else if (err && kr_epoch() == epoch)
			kr_throw("attach: a thread that ends is no worker");
	}
	kr_pool_leave(mp);
}

void kr_attach_over(uint32_t epoch)
{
	/* Before anybody can be sent the signal. */
	kr_preempt_signal_install();
	if (!kr_pool_set_epoch(epoch, epoch + 1))
		return;
	WRITE_ONCE(dev.gone_ns, kr_clock_now_ns());
	kr_sysmon_wake();
	kr_assist_signal.service_poke();
}

static void use(const struct kr_assist *assist)
{
	WRITE_ONCE(sched.assist, assist);
	if (sched.bind_auto)
		WRITE_ONCE(sched.bind, assist->binds);
}

bool kr_attach_let_go(void)
{
	bool stopped;

	if (!dev.held)
		return true;
	if (kr_clock_now_ns() < dev.retry_ns)
		return false;
	/* False: main has ended, and nobody stops the world any more. */
	stopped = kr_stop_ps(NULL, "the module goes");
	dev.held = kr_kdev_replace(dev.fd, dev.watch) != 0;
	if (dev.held)
		dev.retry_ns = kr_clock_now_ns() + RETRY_NS;
	use(&kr_assist_signal);
	if (stopped)
		kr_start_world(NULL);
	return !dev.held;
}

/* A new device behind the old number. Only a group makes its close matter. */
static int take_number(int fd)
{
	int err;

	if (dev.fd < 0) {
		WRITE_ONCE(dev.fd, fd);
		return 0;
	}
	err = kr_kdev_move(fd, dev.fd);
	if (err)
		kr_kdev_close(fd);
	return err;
}

static void attach(void)
{
	int fd = kr_kdev_open();
	uint32_t epoch, max;

	if (fd < 0)
		return;
	/* What the region is like cannot be changed any more. */
	if (check(fd, NEEDED | KAUS_FEAT_DRAIN, &max) ||
	    max < sched.max_procs) {
		kr_kdev_close(fd);
		return;
	}
	if (take_number(fd))
		return;
	if (setup(dev.fd, KAUS_SETUP_REUSE)) {
		kr_kdev_replace(dev.fd, dev.watch);
		return;
	}
	dev.held = true;
	if (!kr_stop_ps(NULL, "the module comes")) {
		dev.held = kr_kdev_replace(dev.fd, dev.watch) != 0;
		return;
	}
	epoch = kr_epoch();
	use(&kr_assist_module);
	kr_pool_set_epoch(epoch, epoch + 1);
	kr_start_world(NULL);
	/* The service thread joins, too. */
	kr_assist_signal.service_poke();
}

void kr_attach_look(void)
{
	if (dev.watch >= 0 && !dev.held && kr_kdev_watch_has_come(dev.watch))
		attach();
}

bool kr_attach_is_between(void)
{
	uint64_t gone_ns = READ_ONCE(dev.gone_ns);

	return gone_ns && kr_clock_now_ns() - gone_ns < BETWEEN_NS;
}

bool kr_attach_is_partial(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);
	uint32_t epoch = kr_epoch();

	if (!kr_has_module(epoch))
		return false;
	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];

		if (smp_load_acquire(&mp->tid) && READ_ONCE(mp->curg) &&
		    !kr_is_joined(mp, epoch))
			return true;
	}
	return false;
}
