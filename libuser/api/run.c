/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* kaus_run(): from plain thread to goroutine 1, step by step. */
#include <errno.h>
#include <kaus/go.h>
#include <pthread.h>
#include <string.h>

#include "gc/gc.h"
#include "gc/special.h"
#include "mem/heap.h"
#include "obs/env.h"
#include "sched/attach.h"
#include "sched/chance.h"
#include "sched/deadlock.h"
#include "sched/filecall.h"
#include "sched/resize.h"
#include "sched/sched.h"
#include "sched/stw.h"
#include "sched/traceback.h"
#include "sched/virtual.h"

struct main_args {
	int (*fn)(void *arg);
	void *arg;
};

static void main_g(void *arg)
{
	struct main_args *main_args = arg;
	int status = main_args->fn(main_args->arg);
	struct m *mp = kr_enter();

	if (!mp)
		kr_throw("run: main ends inside the runtime");
	/* Once Ms stop nobody would run it any more, if it were preempted. */
	kr_main_ended(status);
	kr_exit(mp);
}

/* A child of fork() has one thread and no runtime. */
static void atfork_child(void)
{
	struct m *mp = kr_tls_m;

	kr_tls_m = NULL;
	WRITE_ONCE(sched.running, false);
	kr_gc_forked();
	kr_attach_forked();
	if (mp && mp->bound_cpu != KAUS_NONE)
		kr_cpu_unbind();
}

static int region_alloc(void)
{
	uint64_t len = KAUS_REGION_SIZE(sched.max_procs, sched.max_ms);
	void *region;
	int err;

	err = kr_vm_map(len, true, &region);
	if (err)
		return err;
	/* Shared memory would let a forked child write into our slots. */
	err = kr_vm_dont_fork(region, len);
	if (err) {
		kr_vm_unmap(region, len);
		return err;
	}
	sched.hdr = region;
	return 0;
}

static int assist_init(enum kaus_assist choice)
{
	uint32_t nr = kr_nr_procs(), max = sched.max_procs;
	int err = -ENODEV;

	if (choice != KAUS_ASSIST_SIGNAL) {
		kr_attach_watch();
		sched.assist = &kr_assist_module;
		err = sched.assist->init(sched.hdr, nr, max, sched.max_ms);
		if (!err || choice == KAUS_ASSIST_MODULE)
			goto out;
	}
	sched.assist = &kr_assist_signal;
	err = sched.assist->init(sched.hdr, nr, max, sched.max_ms);
out:
	if (err && sched.assist == &kr_assist_module) {
		kr_env_complain("KAUS_ASSIST=module: /dev/kaus: ",
				strerror(-err));
		err = -ENODEV;
	}
	return err;
}

static int start(const struct kr_settings *set, struct main_args *main_args)
{
	struct m *service;
	struct g *gp;
	int err;

	sched.max_procs = KAUS_MAX_PROCS;
	sched.max_ms = KR_MAX_WORKERS;
	kr_stack_set_size(set->stack_size);
	err = region_alloc();
	if (err)
		return err;
	err = kr_heap_init();
	if (err)
		return err;
	err = kr_resize_init(set->nr_procs);
	if (err)
		return err;
	sched.hdr->slice_ns = set->slice_ns;
	err = assist_init(set->assist);
	if (err)
		return err;
	sched.bind_auto = !set->bind;
	sched.bind = set->bind > 0 || (!set->bind && sched.assist->binds);
	sched.follow = set->follow;
	if (set->sched_random)
		kr_chance_init(set->sched_random);
	if (set->virtual_time)
		kr_virtual_init();
	kr_gc_init(&(struct kr_gc_settings){
		.percent = set->gc_percent,
		.limit_bytes = set->gc_limit_bytes,
		.no_data = set->gc_no_data,
		.trace = set->gc_trace,
		.concurrent = set->gc_concurrent,
		.pages = set->gc_pages,
		.check = set->gc_check,
		.poison = set->gc_poison,
		.huge_pages = set->gc_huge_pages,
		.heap_profile_rate = set->heap_profile_rate,
	}, set->nr_procs);
	sched.follow_memory = set->gc_limit_follow ? kr_gc_limit_follow : NULL;
	sched.watch = sched.follow || sched.follow_memory || sched.gc_look;
	if (sched.follow_memory)
		sched.follow_memory(kr_cgroup_memory());
	kr_proc_init();
	kr_deadlock_init();
	kr_filecall_init(set->no_uring);
	kr_stw_init();
	err = kr_suspend_init();
	if (err)
		return err;
	kr_traceback_init();

	/* The calling thread serves; its slot is worker 0. */
	service = kr_m_alloc();
	if (!service)
		return -ENOMEM;
	service->tid = kr_thread_tid();
	kr_tls_m = service;
	err = sched.assist->thread_start(service);
	if (err)
		return err;
	err = pthread_atfork(NULL, NULL, atfork_child);
	if (err)
		return -err;

	/* Goroutine 1 goes to the global queue, its number from there. */
	gp = kr_g_alloc(NULL);
	if (!gp)
		return -ENOMEM;
	gp->fn = main_g;
	gp->arg = main_args;
	err = kr_service_start();
	if (err)
		return err;
	err = sched.assist->started();
	if (err)
		return err;
	WRITE_ONCE(sched.running, true);
	kr_g_start(NULL, gp);
	/* What has died before. */
	kr_final_look();
	return 0;
}

KR_API int kaus_run_with(const struct kaus_options *opts,
			 int (*fn)(void *arg), void *arg)
{
	struct main_args main_args = { .fn = fn, .arg = arg };
	static uint32_t once;
	struct kr_settings set;
	struct kr_regs regs;
	bool added;
	int err;

	if (!fn)
		return -EINVAL;
	err = kr_env_settings(opts, &set);
	if (err)
		return err;
	if (!kr_cas(&once, 0, 1))
		return -EBUSY;
	/* What this thread has on its stack counts from here up. */
	kr_regs_save(&regs);
	added = kr_gc_thread_rests(&regs);
	/* A plain thread may be in the midst of a cycle of its own. */
	kr_stw_hold();
	err = start(&set, &main_args);
	kr_stw_release();
	if (err && !READ_ONCE(sched.nr_ms)) {
		/* Nothing has started: it may be tried again. */
		kr_cas(&once, 1, 0);
		kr_gc_thread_rests_no_more(added);
		return err;
	}
	if (!err)
		err = kr_service_run();
	WRITE_ONCE(sched.running, false);
	WRITE_ONCE(sched.stopping, true);
	WRITE_ONCE(sched.detour, true);
	if (sched.assist && READ_ONCE(sched.nr_ms))
		sched.assist->stop();
	kr_gc_thread_rests_no_more(added);
	return err;
}

KR_API int kaus_run(int (*fn)(void *arg), void *arg)
{
	return kaus_run_with(NULL, fn, arg);
}
