// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nonsense in the region and in the arguments. The process that does that may
 * crash, the kernel must not, and neither may anybody else notice. A bug shows
 * as a tainted kernel, a hang, or a second process that is disturbed. The seed
 * is printed; KW_SEED in the environment repeats a run.
 */
#include "kw_test.h"

#include <sys/prctl.h>

#define NR_PROCS	4
#define NR_WORKERS	6
#define RUN_MS		1500

static uint64_t seed;

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Values that were wrong somewhere once. */
static uint64_t odd_value(uint64_t *x)
{
	static const uint64_t odd[] = {
		0, 1, 2, 3, 0xff, 0x100, NR_PROCS, NR_WORKERS, 0x7fffffff,
		0x80000000, KAUS_NONE, KAUS_ANY, KAUS_ALL, 1ULL << 32,
		1ULL << 47, 1ULL << 62, 1ULL << 63, UINT64_MAX,
		0xffff888000000000, 0xffffffff81000000,
	};

	switch (rnd(x) % 4) {
	case 0:
		return rnd(x);
	case 1:
		return KAUS_OWNER(rnd(x) % 6, rnd(x) % (NR_WORKERS + 2),
				  rnd(x) % 4);
	default:
		return odd[rnd(x) % ARRAY_SIZE(odd)];
	}
}

struct chaos {
	struct kw k;
	uint64_t end_ns;
	bool spare_stacks;	/* leave alone what would only crash us */
};

/* Writes all over the shared pages, as fast as it goes. */
static void *scribble(void *arg)
{
	struct chaos *c = arg;
	uint64_t x = seed * 3 | 1;

	while (kw_now() < c->end_ns) {
		for (int i = 0; i < 200; i++) {
			uint64_t off = rnd(&x) % (c->k.len / 8);
			uint64_t value = odd_value(&x);
			struct kaus_worker *slot;
			size_t in;

			/* Mostly where something happens. */
			if (rnd(&x) % 2)
				off = KAUS_PROCS_OFFSET / 8 + rnd(&x) %
				      ((c->k.len - KAUS_PROCS_OFFSET) / 8);
			in = off * 8 - KAUS_WORKERS_OFFSET(NR_PROCS);
			if (off * 8 >= KAUS_WORKERS_OFFSET(NR_PROCS)) {
				in %= sizeof(*slot);
				/* defer and the stack belong together. */
				if (c->spare_stacks && in < 40 && in != 32)
					continue;
			}
			KW_STORE(((uint64_t *)c->k.hdr)[off], value);
		}
		if (rnd(&x) % 8 == 0)
			kw_nap();
	}
	return NULL;
}

/* Calls everything with anything. */
static void *call(void *arg)
{
	struct chaos *c = arg;
	uint64_t x = seed * 5 | 1;

	while (kw_now() < c->end_ns) {
		static const uint8_t sizes[] = {
			56, 48, 16, 16, 32, 24, 48, 16,
		};
		/* As all the structs begin: size, flags, worker, home. */
		struct {
			uint32_t head[4];
			uint64_t deadline_ns;
			uint64_t more[12];
		} a;
		uint32_t nr = rnd(&x) % 9;

		for (size_t i = 0; i < ARRAY_SIZE(a.more); i++)
			a.more[i] = rnd(&x) % 3 ? 0 : odd_value(&x);
		a.head[0] = rnd(&x) % 5 ? sizes[nr & 7] : rnd(&x);
		a.head[1] = rnd(&x) % 4 ? rnd(&x) % 3 : odd_value(&x);
		a.head[2] = rnd(&x) % (NR_WORKERS + 1);
		a.head[3] = rnd(&x) % 2 ? 0 : KAUS_NONE;
		a.deadline_ns = odd_value(&x);
		/* Never for ever. */
		if (nr == 4 || nr == 6)
			a.deadline_ns = kw_now() + rnd(&x) % 300000;
		/* A SETUP that works would be in the way. */
		if (nr == 1 && rnd(&x) % 16)
			continue;
		kw_ioctl(c->k.fd, _IO(KAUS_IOC_TYPE, nr), &a);
	}
	return NULL;
}

static void work(struct kw_thread *t)
{
	struct chaos *c = t->arg;
	uint64_t x = seed + t->worker;

	while (kw_now() < c->end_ns) {
		struct timespec ts = { .tv_nsec = rnd(&x) % 100000 };
		uint32_t proc = rnd(&x) % NR_PROCS;
		uint64_t word = kw_owner(t->kw, proc);

		KW_STORE(kw_self.slot->proc, proc);
		kw_take(t->kw, proc, word, t->worker);
		kw_waiters(t->kw, proc, rnd(&x) % 2);
		switch (rnd(&x) % 5) {
		case 0:
			kw_sum(rnd(&x) % 20000);
			break;
		case 1:
			kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
			break;
		case 2:
			kw_park(t->kw, rnd(&x) % 3, KAUS_NONE,
				kw_now() + rnd(&x) % 300000, NULL);
			break;
		case 3:
			kw_wake(t->kw, rnd(&x) % 2 ? KAUS_ANY :
				rnd(&x) % NR_WORKERS, proc, word);
			break;
		default:
			kw_kick(t->kw, KAUS_ALL, NULL);
		}
	}
}

/* A process that lives dangerously; its end is nobody's business. */
static void chaos(unsigned int how)
{
	static struct kw_thread t[NR_WORKERS];
	static struct chaos c;
	pthread_t other[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	c.end_ns = kw_now() + RUN_MS * 1000000ULL;
	c.spare_stacks = how != 2;
	if (kw_group(&c.k, NR_PROCS, NR_WORKERS))
		_exit(1);
	for (int i = 0; i < NR_WORKERS; i++)
		kw_thread_start(&t[i], &c.k, i, work, &c);
	if (how != 1)
		pthread_create(&other[0], NULL, scribble, &c);
	if (how != 0)
		pthread_create(&other[1], NULL, call, &c);
	/* Somewhere in the middle. */
	usleep(RUN_MS * 1000 + RUN_MS * 100);
	_exit(0);
}

FIXTURE(hostile) {
	struct kw k;
};

/* Main is the innocent bystander: preempted, on the same CPUs. */
FIXTURE_SETUP(hostile)
{
	seed = kw_now();
	if (getenv("KW_SEED"))
		seed = strtoull(getenv("KW_SEED"), NULL, 0);
	TH_LOG("KW_SEED=%#lx", (unsigned long)seed);
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
}

FIXTURE_TEARDOWN(hostile)
{
	kw_close(&self->k);
}

static void survive(struct __test_metadata *_metadata,
		    FIXTURE_DATA(hostile) *self, unsigned int how)
{
	uint64_t ref = kw_sum(20000), before;
	pid_t pid = fork();
	int status;

	if (!pid)
		chaos(how);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		ASSERT_EQ(ref, kw_sum(20000));
		ASSERT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 1));
	}
	before = kw_self.stat->nr_preempt;
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) > before + 5))
		TH_LOG("bystander no longer preempted");
	EXPECT_EQ(0, kw_self.stat->nr_foreign);
	kw_unregister(&self->k);
	EXPECT_EQ(kw_taint_before, kw_taint());
}

TEST_F(hostile, region)
{
	survive(_metadata, self, 0);
}

TEST_F(hostile, arguments)
{
	survive(_metadata, self, 1);
}

TEST_F(hostile, region_and_arguments)
{
	survive(_metadata, self, 2);
}

KW_TEST_MAIN
