/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* kaus_run(): from plain thread to goroutine 1, step by step. */
#include <errno.h>
#include <kaus/go.h>
#include <pthread.h>
#include <string.h>

#include "mem/persist.h"
#include "obs/env.h"
#include "sched/sched.h"

struct main_args {
	int (*fn)(void *arg);
	void *arg;
};

static void main_g(void *arg)
{
	struct main_args *main_args = arg;

	kr_main_ended(main_args->fn(main_args->arg));
}

/* A child of fork() has one thread and no runtime. */
static void atfork_child(void)
{
	kr_tls_m = NULL;
	WRITE_ONCE(sched.running, false);
	if (sched.bind)
		kr_cpu_unbind();
}

static int region_alloc(void)
{
	uint64_t len = KAUS_REGION_SIZE(sched.nr_procs, sched.max_ms);
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

static int ps_alloc(void)
{
	unsigned int cpus[KAUS_MAX_PROCS];
	unsigned int nr_cpus = kr_cpus_allowed(cpus, KAUS_MAX_PROCS);
	struct kaus_proc *slots;

	if (nr_cpus > KAUS_MAX_PROCS)
		nr_cpus = KAUS_MAX_PROCS;
	slots = (struct kaus_proc *)((char *)sched.hdr + KAUS_PROCS_OFFSET);
	sched.allp = kr_persist_alloc(sched.nr_procs * sizeof(*sched.allp));
	if (!sched.allp)
		return -ENOMEM;
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		struct p *pp = kr_persist_alloc(sizeof(*pp));

		if (!pp)
			return -ENOMEM;
		pp->slot = &slots[i];
		pp->id = i;
		pp->rand = i * 2654435761U + 1;
		pp->cpu = nr_cpus >= sched.nr_procs ? cpus[i] : KAUS_NONE;
		pp->slot->cpu = pp->cpu;
		sched.allp[i] = pp;
	}
	return 0;
}

static int assist_init(enum kaus_assist choice)
{
	uint64_t len = KAUS_REGION_SIZE(sched.nr_procs, sched.max_ms);
	int err = -ENODEV;

	if (choice != KAUS_ASSIST_SIGNAL) {
		sched.assist = &kr_assist_module;
		err = sched.assist->init(sched.hdr, len, sched.nr_procs,
					 sched.max_ms);
		if (!err || choice == KAUS_ASSIST_MODULE)
			goto out;
	}
	sched.assist = &kr_assist_signal;
	err = sched.assist->init(sched.hdr, len, sched.nr_procs, sched.max_ms);
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

	sched.nr_procs = set->nr_procs;
	sched.max_ms = KR_MAX_WORKERS;
	kr_stack_set_size(set->stack_size);
	err = region_alloc();
	if (err)
		return err;
	err = ps_alloc();
	if (err)
		return err;
	sched.hdr->slice_ns = set->slice_ns;
	err = assist_init(set->assist);
	if (err)
		return err;
	sched.bind = set->bind > 0 || (!set->bind && sched.assist->binds);
	kr_proc_init();

	/* The calling thread serves; its slot is worker 0. */
	service = kr_m_alloc();
	if (!service)
		return -ENOMEM;
	service->tid = kr_thread_tid();
	service->thread = pthread_self();
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
	return 0;
}

KR_API int kaus_run_with(const struct kaus_options *opts,
			 int (*fn)(void *arg), void *arg)
{
	struct main_args main_args = { .fn = fn, .arg = arg };
	static uint32_t once;
	struct kr_settings set;
	int err;

	if (!fn)
		return -EINVAL;
	err = kr_env_settings(opts, &set);
	if (err)
		return err;
	if (!kr_cas(&once, 0, 1))
		return -EBUSY;
	err = start(&set, &main_args);
	if (err && !sched.nr_ms) {
		/* Nothing has started: it may be tried again. */
		kr_cas(&once, 1, 0);
		return err;
	}
	if (!err)
		err = kr_service_run();
	WRITE_ONCE(sched.running, false);
	WRITE_ONCE(sched.stopping, true);
	if (sched.assist && sched.nr_ms)
		sched.assist->stop();
	return err;
}

KR_API int kaus_run(int (*fn)(void *arg), void *arg)
{
	return kaus_run_with(NULL, fn, arg);
}
