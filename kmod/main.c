// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus.ko: kernel-assisted user scheduling.
 *
 * DOC: Init and exit order, and nothing else. From the bottom up:
 *
 *	worker		one registered thread; preempt notifiers
 *	preempt		one timer, user-return notifier and IPI per CPU
 *	debugfs		counters to look at
 *	pages		the shrinker
 *	drain		/dev/kaus (dev.c), the only way in, and who shuts it
 *
 * with group (one per open file), park, handoff, redirect and rseq between
 * them, which have no state of their own to set up.
 *
 * When exit runs nothing of ours is in use: an open file holds the module by
 * its fops, a registered thread by a reference of its own. What may still be
 * about is what those left behind without a pointer to anything: an armed
 * timer, user-return notifier, IPI, or the tail of a callback.
 */
#include <linux/module.h>

#include "debugfs.h"
#include "drain.h"
#include "pages.h"
#include "preempt.h"
#include "worker.h"

static int __init kaus_init(void)
{
	int err;

	err = kaus_worker_init();
	if (err)
		return err;
	err = kaus_preempt_init();
	if (err)
		goto err_worker;
	kaus_debugfs_init();
	err = kaus_pages_init();
	if (err)
		goto err_debugfs;
	err = kaus_drain_init();
	if (err)
		goto err_pages;
	return 0;

err_pages:
	kaus_pages_exit();
err_debugfs:
	kaus_debugfs_exit();
	kaus_preempt_exit();
err_worker:
	kaus_worker_exit();
	return err;
}

static void __exit kaus_exit(void)
{
	kaus_drain_exit();
	kaus_pages_exit();
	kaus_debugfs_exit();
	kaus_preempt_exit();
	kaus_worker_exit();
}

module_init(kaus_init);
module_exit(kaus_exit);

MODULE_DESCRIPTION("Kernel-assisted user scheduling");
MODULE_AUTHOR("The KAUS authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("1.2.0");
