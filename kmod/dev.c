// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/kaus: opening, closing and the ioctls.
 *
 * DOC: An open file has no group until KAUS_IOC_SETUP and keeps the one it
 * then gets until it is released, so that an ioctl, which holds the file,
 * needs no further reference. Here arguments are copied in and out and checked
 * as far as that needs no knowledge of what they mean; who may call is
 * checked here as well, once for all.
 *
 * Every argument is a struct that begins with its own size, so that either
 * side may be the newer one.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/kaus.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "dev.h"
#include "group.h"
#include "park.h"
#include "preempt.h"
#include "worker.h"

static ushort mode = 0666;
module_param(mode, ushort, 0444);
MODULE_PARM_DESC(mode, "Permissions of /dev/kaus");

/* Builds that differ in this are what a test of live upgrades swaps. */
#ifndef KAUS_REPORTED_MINOR
#define KAUS_REPORTED_MINOR	KAUS_ABI_MINOR
#endif

/* What no struct will ever exceed. */
#define MAX_ARG_SIZE	PAGE_SIZE

/* The last member of each struct as of ABI 1.0. */
#define MIN_SIZE(type, last)	offsetofend(struct type, last)

/*
 * Copy a struct in. The first four bytes are the size, the next four the
 * flags, which callers check. The size that was checked is the one that is
 * used: the struct in user memory may change meanwhile.
 */
static int copy_arg(void *arg, size_t known, size_t min, void __user *uarg)
{
	u32 size;
	int err;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < min)
		return -EINVAL;
	if (size > MAX_ARG_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(arg, known, uarg, size);
	if (err)
		return err;
	*(u32 *)arg = size;
	return 0;
}

#define COPY_ARG(arg, type, last, uarg) \
	copy_arg(arg, sizeof(struct type), MIN_SIZE(type, last), uarg)

/* The group of @file, if the caller may use it. */
static struct kaus_group *get_group(struct file *file)
{
	/* Pairs with cmpxchg_release() in ioctl_setup(). */
	struct kaus_group *g = smp_load_acquire(&file->private_data);

	if (!g)
		return ERR_PTR(-ENXIO);
	if (!kaus_group_is_owner(g))
		return ERR_PTR(-EPERM);
	if (kaus_group_is_shutdown(g))
		return ERR_PTR(-ESHUTDOWN);
	return g;
}

static int ioctl_info(struct file *file, void __user *uarg)
{
	struct kaus_info info;
	u32 size;
	int err;

	err = COPY_ARG(&info, kaus_info, default_slice_ns, uarg);
	if (err)
		return err;
	if (info.flags)
		return -EINVAL;
	size = min_t(u32, info.size, sizeof(info));
	memset(&info, 0, sizeof(info));
	info.size = size;
	info.abi_major = KAUS_ABI_MAJOR;
	info.abi_minor = KAUS_REPORTED_MINOR;
	info.features = KAUS_FEAT_PREEMPT | KAUS_FEAT_KICK |
			KAUS_FEAT_HANDOFF | KAUS_FEAT_DRAIN |
			KAUS_FEAT_PAGES;
	if (KAUS_HAS_URN)
		info.features |= KAUS_FEAT_REGS;
	kaus_group_limits(&info);
	return copy_to_user(uarg, &info, size) ? -EFAULT : 0;
}

static int ioctl_setup(struct file *file, void __user *uarg)
{
	struct kaus_setup setup;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&setup, kaus_setup, tramp_hi, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (!IS_ERR(g))
		return -EBUSY;
	if (PTR_ERR(g) != -ENXIO)
		return PTR_ERR(g);
	if (setup.flags & ~KAUS_SETUP_REUSE)
		return -EINVAL;
	g = kaus_group_create(&setup);
	if (IS_ERR(g))
		return PTR_ERR(g);
	/* Another thread may have been faster. */
	if (cmpxchg_release(&file->private_data, NULL, g)) {
		kaus_group_shutdown(g, KAUS_SHUTDOWN_CLOSED);
		kaus_group_put(g);
		return -EBUSY;
	}
	return 0;
}

static int ioctl_register(struct file *file, void __user *uarg, bool enter)
{
	struct kaus_register reg;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&reg, kaus_register, pad, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (reg.flags || reg.pad)
		return -EINVAL;
	if (enter)
		return kaus_worker_register(g, reg.worker);
	return kaus_worker_unregister(g, reg.worker);
}

static int ioctl_park(struct file *file, void __user *uarg)
{
	struct kaus_park __user *upark = uarg;
	struct kaus_park park;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&park, kaus_park, pad, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (park.pad)
		return -EINVAL;
	err = kaus_park_sleep(g, &park);
	if (err)
		return err;
	if (put_user(park.proc, &upark->proc)) {
		kaus_park_unfetch(g, park.worker, park.proc);
		return -EFAULT;
	}
	return 0;
}

static int ioctl_wake(struct file *file, void __user *uarg)
{
	struct kaus_wake wake;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&wake, kaus_wake, owner, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (wake.flags)
		return -EINVAL;
	return kaus_park_wake(g, &wake);
}

static int ioctl_handoff(struct file *file, void __user *uarg)
{
	struct kaus_handoff __user *uhandoff = uarg;
	struct kaus_handoff handoff;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&handoff, kaus_handoff, woken, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (handoff.woken)
		return -EINVAL;
	err = kaus_park_handoff(g, &handoff);
	/* Written last, but always: the caller reads it after the call only. */
	if (handoff.woken && put_user(handoff.woken, &uhandoff->woken))
		goto fault;
	if (!err && put_user(handoff.proc, &uhandoff->proc))
		goto fault;
	return err;

fault:
	if (!err)
		kaus_park_unfetch(g, handoff.worker, handoff.proc);
	return -EFAULT;
}

static int ioctl_kick(struct file *file, void __user *uarg)
{
	struct kaus_kick __user *ukick = uarg;
	struct kaus_kick kick;
	struct kaus_group *g;
	int err;

	err = COPY_ARG(&kick, kaus_kick, kicked, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (kick.flags || kick.kicked)
		return -EINVAL;
	err = kaus_preempt_kick(g, &kick);
	if (err)
		return err;
	return put_user(kick.kicked, &ukick->kicked);
}

static int ioctl_regs(struct file *file, void __user *uarg)
{
	struct kaus_regs regs;
	struct kaus_group *g;
	u32 size;
	int err;

	err = COPY_ARG(&regs, kaus_regs, r15, uarg);
	if (err)
		return err;
	g = get_group(file);
	if (IS_ERR(g))
		return PTR_ERR(g);
	if (regs.flags || regs.pad)
		return -EINVAL;
	if (!KAUS_HAS_URN)
		return -EOPNOTSUPP;
	size = min_t(u32, regs.size, sizeof(regs));
	err = kaus_preempt_regs(g, &regs);
	if (err)
		return err;
	return copy_to_user(uarg, &regs, size) ? -EFAULT : 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case KAUS_IOC_INFO:
		return ioctl_info(file, uarg);
	case KAUS_IOC_SETUP:
		return ioctl_setup(file, uarg);
	case KAUS_IOC_REGISTER:
		return ioctl_register(file, uarg, true);
	case KAUS_IOC_UNREGISTER:
		return ioctl_register(file, uarg, false);
	case KAUS_IOC_PARK:
		return ioctl_park(file, uarg);
	case KAUS_IOC_WAKE:
		return ioctl_wake(file, uarg);
	case KAUS_IOC_HANDOFF:
		return ioctl_handoff(file, uarg);
	case KAUS_IOC_KICK:
		return ioctl_kick(file, uarg);
	case KAUS_IOC_REGS:
		return ioctl_regs(file, uarg);
	}
	return -ENOTTY;
}

/* 32-bit callers, of whatever kind, could not be redirected. */
static long dev_compat_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg)
{
	return -EOPNOTSUPP;
}

static int dev_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;	/* misc_open() left its own there */
	return nonseekable_open(inode, file);
}

/*
 * A descriptor is closed, perhaps not the last one. If the owner does that, or
 * dies, the group ends. In do_exit() the mm is gone by now.
 */
static int dev_flush(struct file *file, fl_owner_t id)
{
	/* Pairs with cmpxchg_release() in ioctl_setup(). */
	struct kaus_group *g = smp_load_acquire(&file->private_data);

	if (g && (kaus_group_is_owner(g) ||
		  (!current->mm && task_tgid(current) == g->tgid)))
		kaus_group_shutdown(g, KAUS_SHUTDOWN_CLOSED);
	return 0;
}

static int dev_release(struct inode *inode, struct file *file)
{
	struct kaus_group *g = file->private_data;

	if (g) {
		kaus_group_shutdown(g, KAUS_SHUTDOWN_CLOSED);
		kaus_group_put(g);
	}
	return 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.flush = dev_flush,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = dev_compat_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kaus",
	.fops = &dev_fops,
};

/* Called by drain.c, one at a time. */
int kaus_dev_add(void)
{
	dev_misc.mode = mode & 0666;
	return misc_register(&dev_misc);
}

void kaus_dev_remove(void)
{
	misc_deregister(&dev_misc);
}
