// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of all groups, and the drain.
 *
 * DOC: Writing 1 to the parameter "drain" takes /dev/kaus away and shuts down
 * every group; 0 brings the device back. Who may do that is who may write to
 * /sys/module/kaus/parameters/drain, which is root of the initial user
 * namespace. The write returns at once. From then on
 *
 *	- nobody can open the device, and a descriptor that is open already gets
 *	  no group any more;
 *	- runtimes learn of it by kaus_header.shutdown and by -ESHUTDOWN from
 *	  every ioctl, the one they are parked in included, go on without the
 *	  module and close their descriptors;
 *	- threads stop being workers whether the runtime helps or not: those that
 *	  run in the interrupt that is sent to them, the others at their next
 *	  context switch. Who sleeps is woken for nothing, else somebody in a
 *	  read() that lasts for hours would hold the module that long.
 *
 * When the last descriptor is closed, rmmod succeeds. A second write of 1 does
 * all of it again, for those that were missed: stopped processes, say, which
 * cannot close anything.
 *
 * Rejected: an ioctl, which would need the device that is to go; unloading by
 * force, which cannot know who is still in the code. The device is removed and
 * not merely refused, so that whoever watches /dev sees it come back.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/kstrtox.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>

#include "dev.h"
#include "drain.h"
#include "group.h"

static uint max_groups = 256;
module_param(max_groups, uint, 0644);
MODULE_PARM_DESC(max_groups, "Groups of a user without CAP_SYS_RESOURCE");

/* Outermost: the lock of a group is taken in it. Guards all of the rest. */
static DEFINE_MUTEX(drain_lock);
static LIST_HEAD(all_groups);
/* By user. One that has ended counts until it is freed: it pins its region. */
static DEFINE_XARRAY(nr_groups);
static bool draining;
static bool loaded;		/* the device is there unless draining */

static void drain_all(void)
{
	struct kaus_group *g;

	lockdep_assert_held(&drain_lock);
	/* One that is about to be freed still waits to leave the list. */
	list_for_each_entry(g, &all_groups, in_drain) {
		kaus_group_shutdown(g, KAUS_SHUTDOWN_DRAIN);
		cond_resched();
	}
}

static int set_draining(bool on)
{
	int err = 0;

	lockdep_assert_held(&drain_lock);
	if (loaded && on && !draining)
		kaus_dev_remove();
	else if (loaded && !on && draining)
		err = kaus_dev_add();
	if (!err)
		draining = on;
	if (draining)
		drain_all();
	return err;
}

/* Also called with the arguments of insmod, before init. */
static int param_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int err;

	err = kstrtobool(val, &on);
	if (err)
		return err;
	mutex_lock(&drain_lock);
	err = set_draining(on);
	mutex_unlock(&drain_lock);
	return err;
}

static const struct kernel_param_ops param_ops = {
	.set = param_set,
	.get = param_get_bool,
};

module_param_cb(drain, &param_ops, &draining, 0644);
MODULE_PARM_DESC(drain, "Detach all processes, so that the module can go");

/* A group more of its user, if he may. */
static int count_in(const struct kaus_group *g)
{
	unsigned long uid = __kuid_val(g->uid), nr;

	lockdep_assert_held(&drain_lock);
	nr = xa_to_value(xa_load(&nr_groups, uid));
	if (nr >= READ_ONCE(max_groups) &&
	    !ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE))
		return -EUSERS;
	return xa_err(xa_store(&nr_groups, uid, xa_mk_value(nr + 1),
			       GFP_KERNEL_ACCOUNT));
}

static void count_out(const struct kaus_group *g)
{
	unsigned long uid = __kuid_val(g->uid), nr;

	lockdep_assert_held(&drain_lock);
	nr = xa_to_value(xa_load(&nr_groups, uid)) - 1;
	/* What is there already is replaced without an allocation. */
	if (nr)
		xa_store(&nr_groups, uid, xa_mk_value(nr), GFP_KERNEL);
	else
		xa_erase(&nr_groups, uid);
}

/**
 * kaus_drain_add() - A group becomes known.
 * @g: The group, whole, but for this.
 *
 * Return: 0, -ENODEV while the module is drained, -EUSERS, -ENOMEM.
 */
int kaus_drain_add(struct kaus_group *g)
{
	int err;

	mutex_lock(&drain_lock);
	err = draining ? -ENODEV : count_in(g);
	if (!err)
		list_add(&g->in_drain, &all_groups);
	mutex_unlock(&drain_lock);
	return err;
}

/* Context: Process context, the last reference is gone. */
void kaus_drain_remove(struct kaus_group *g)
{
	mutex_lock(&drain_lock);
	list_del(&g->in_drain);
	count_out(g);
	mutex_unlock(&drain_lock);
}

int kaus_drain_init(void)
{
	int err = 0;

	mutex_lock(&drain_lock);
	if (!draining)
		err = kaus_dev_add();
	loaded = !err;
	mutex_unlock(&drain_lock);
	return err;
}

void kaus_drain_exit(void)
{
	mutex_lock(&drain_lock);
	/* The parameter outlives this function, but does nothing any more. */
	loaded = false;
	if (!draining)
		kaus_dev_remove();
	mutex_unlock(&drain_lock);
}
