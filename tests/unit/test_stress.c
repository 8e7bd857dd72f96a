// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once: goroutines that at random compute, yield, sleep, talk,
 * spawn and join, sleep in the kernel, allocate, fork and end. Books are kept
 * on what must come out even: elements sent and received, spawned and joined.
 *
 * If it is broken: a hang, a crash or books that do not balance. The seed is
 * printed; KAUS_TEST_SEED=number repeats the choices, if not the interleaving.
 * KAUS_TEST_SECONDS=number makes it longer.
 */
#include "utest.h"

#define NR_ACTORS 40
#define NR_CHANS 4

static struct kaus_chan *chans[NR_CHANS];
static struct kaus_waitgroup actors, drains;
static atomic_ullong sum_sent, sum_received;
static atomic_ullong nr_spawned, nr_joined, nr_steps;
static uint64_t end_ns;

static void *child(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	ut_spin(seed % 2000);
	if (seed % 3 == 0)
		kaus_yield();
	if (seed % 7 == 0)
		kaus_sleep(seed % (300 * USEC));
	return (void *)(uintptr_t)(seed + 1);
}

static void do_spawn(uint64_t *seed)
{
	struct kaus_g *gs[8];
	uintptr_t args[8];
	size_t i, nr = ut_rand(seed) % 8;
	void *value;

	for (i = 0; i < nr; i++) {
		args[i] = ut_rand(seed) % 1000000;
		gs[i] = ut_spawn(child, (void *)args[i]);
		atomic_fetch_add(&nr_spawned, 1);
	}
	for (i = 0; i < nr; i++) {
		value = NULL;
		CHECK_EQ(0, kaus_join(gs[i], &value));
		CHECK_EQ(args[i] + 1, (uintptr_t)value);
		atomic_fetch_add(&nr_joined, 1);
	}
}

static void do_send(uint64_t *seed)
{
	uint64_t value = ut_rand(seed) % 1000;
	struct kaus_chan *ch = chans[ut_rand(seed) % NR_CHANS];
	int ret;

	if (ut_rand(seed) % 2) {
		ret = kaus_chan_send(ch, &value);
		CHECK_EQ(0, ret);
	} else {
		ret = kaus_chan_try_send(ch, &value);
		CHECK(!ret || ret == -EAGAIN);
	}
	if (!ret)
		atomic_fetch_add(&sum_sent, value);
}

static void do_allocate(uint64_t *seed)
{
	size_t i, size = 1 + ut_rand(seed) % 5000;
	unsigned char *block = malloc(size);

	memset(block, (int)size, size);
	if (size % 5 == 0)
		kaus_yield();
	for (i = 0; i < size; i += 97)
		CHECK_EQ((unsigned char)size, block[i]);
	free(block);
}

static void do_sleep_in_kernel(uint64_t *seed)
{
	struct timespec ts = { 0, (long)(ut_rand(seed) % (200 * USEC)) };

	nanosleep(&ts, NULL);
}

static void do_fork(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	if (!CHECK(pid > 0))
		return;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void actor(void *arg)
{
	uint64_t seed = (uintptr_t)arg, nap;

	while (kaus_now_ns() < end_ns) {
		atomic_fetch_add(&nr_steps, 1);
		switch (ut_rand(&seed) % 64) {
		case 0 ... 9:
			kaus_yield();
			break;
		case 10 ... 14:
			nap = ut_rand(&seed) % (500 * USEC);
			CHECK_EQ(0, kaus_sleep(nap));
			break;
		case 15 ... 39:
			do_send(&seed);
			break;
		case 40 ... 46:
			do_spawn(&seed);
			break;
		case 47 ... 52:
			ut_spin(ut_rand(&seed) % 50000);
			break;
		case 53 ... 59:
			do_allocate(&seed);
			break;
		case 60 ... 62:
			do_sleep_in_kernel(&seed);
			break;
		default:
			if (ut_rand(&seed) % 16 == 0)
				do_fork();
			break;
		}
	}
	CHECK_EQ(0, kaus_waitgroup_done(&actors));
}

static void drain(void *arg)
{
	uint64_t value;

	while (!kaus_chan_recv(arg, &value)) {
		CHECK(value < 1000);
		atomic_fetch_add(&sum_received, value);
	}
	CHECK_EQ(0, kaus_waitgroup_done(&drains));
}

static void *poke(void *arg)
{
	uint64_t value = 1, seed = (uintptr_t)arg;
	struct kaus_chan *ch;

	while (kaus_now_ns() < end_ns) {
		ch = chans[ut_rand(&seed) % NR_CHANS];
		if (!kaus_chan_try_send(ch, &value))
			atomic_fetch_add(&sum_sent, value);
		if (ut_rand(&seed) % 8 == 0)
			kaus_set_slice((ut_rand(&seed) % 2000) * USEC);
		usleep(500);
	}
	return NULL;
}

static int stress_main(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;
	pthread_t thread;
	int i;

	for (i = 0; i < NR_CHANS; i++)
		chans[i] = kaus_chan_make(sizeof(uint64_t), (size_t)i * 5);
	kaus_waitgroup_add(&actors, NR_ACTORS);
	kaus_waitgroup_add(&drains, 2 * NR_CHANS);
	for (i = 0; i < 2 * NR_CHANS; i++)
		ut_go(drain, chans[i % NR_CHANS]);
	for (i = 0; i < NR_ACTORS; i++)
		ut_go(actor, (void *)(uintptr_t)(ut_rand(&seed) | 1));
	pthread_create(&thread, NULL, poke, (void *)(uintptr_t)(seed | 1));

	CHECK_EQ(0, kaus_waitgroup_wait(&actors));
	pthread_join(thread, NULL);
	for (i = 0; i < NR_CHANS; i++)
		CHECK_EQ(0, kaus_chan_close(chans[i]));
	CHECK_EQ(0, kaus_waitgroup_wait(&drains));
	CHECK_EQ(sum_sent, sum_received);
	CHECK_EQ(nr_spawned, nr_joined);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	for (i = 0; i < NR_CHANS; i++)
		kaus_chan_free(chans[i]);
	dprintf(STDERR_FILENO, "# %llu steps, %llu spawned, sum %llu\n",
		nr_steps, nr_spawned, sum_sent);
	return 0;
}

static void stress(struct __test_metadata *_metadata, unsigned int nr_procs,
		   bool by_lot)
{
	const char *seed_text = getenv("KAUS_TEST_SEED");
	const char *seconds = getenv("KAUS_TEST_SECONDS");
	struct kaus_options opts = ut_procs(nr_procs);
	uint64_t seed;

	seed = seed_text ? strtoull(seed_text, NULL, 0) : kaus_now_ns() | 1;
	TH_LOG("KAUS_TEST_SEED=%llu", (unsigned long long)seed);
	if (by_lot)
		opts.sched_random = seed;
	end_ns = seconds ? strtoull(seconds, NULL, 0) * SEC : 2 * SEC;
	end_ns += kaus_now_ns();
	RUN_WITH(&opts, stress_main, &seed);
}

TEST(default_procs)
{
	stress(_metadata, 0, false);
}

TEST(one_proc)
{
	stress(_metadata, 1, false);
}

TEST(eight_procs)
{
	stress(_metadata, 8, false);
}

TEST(by_lot)
{
	stress(_metadata, 0, true);
}

TEST(eight_procs_by_lot)
{
	stress(_metadata, 8, true);
}

TEST_HARNESS_MAIN
