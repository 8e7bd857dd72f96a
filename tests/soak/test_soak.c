// SPDX-License-Identifier: GPL-2.0-only
/*
 * The soak: all features in one program, at once and for long. Each has a
 * goroutine or more that uses it at random, an invariant that it checks at each
 * step, and a counter, which must have grown at the end.
 *
 * If it is broken: an invariant does not hold, books do not balance, a feature
 * makes no progress, or the program does not come to its end.
 *
 * 10 seconds, or KAUS_TEST_SECONDS. The seed is printed; KAUS_TEST_SEED=number
 * repeats the choices, if not the interleaving.
 */
#include <kaus/local.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include "utest.h"

/* Whoever runs this sets the limit. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 100000

#define WORKERS_EACH 3
#define ECHO_MAX 3000
#define SEM_UNITS 5

enum feature {
	CHANNELS, SELECTS, SLEEPS, TIMERS, MUTEXES, RWMUTEXES, CONDS, SEMAPHORES,
	CONTEXTS, SPAWNS, LOCALS, SOCKETS, PIPES, BLOCKING, HOGS, NO_PREEMPTION,
	OWN_THREADS, MEMORY, OUTSIDE,
	NR_FEATURES,
};

static const char *const names[NR_FEATURES] = {
	"channels", "selects", "sleeps", "timers", "mutexes", "rwmutexes",
	"conds", "semaphores", "contexts", "spawns", "locals", "sockets",
	"pipes", "blocking", "hogs", "no preemption", "own threads", "memory",
	"outside",
};

static atomic_ullong counts[NR_FEATURES];
static uint64_t end_ns;

static bool go_on(void)
{
	return kaus_now_ns() < end_ns;
}

static uint64_t up_to(uint64_t *seed, uint64_t max)
{
	return ut_rand(seed) % (max + 1);
}

/* ---- channels, select ---- */

static struct kaus_chan *plain, *buffered, *third;
static atomic_ullong sum_sent, sum_received;

static void do_channels(uint64_t *seed)
{
	struct kaus_chan *ch = ut_rand(seed) % 2 ? plain : buffered;
	uint64_t value = up_to(seed, 1000);
	int err;

	switch (ut_rand(seed) % 3) {
	case 0:
		err = kaus_chan_send(ch, &value);
		CHECK_EQ(0, err);
		break;
	case 1:
		err = kaus_chan_try_send(ch, &value);
		CHECK(!err || err == -EAGAIN);
		break;
	default:
		err = kaus_chan_send_until(ch, &value, kaus_now_ns() +
					   up_to(seed, 100 * USEC));
		CHECK(!err || err == -ETIMEDOUT);
	}
	if (!err)
		atomic_fetch_add(&sum_sent, value);
}

static void do_selects(uint64_t *seed)
{
	uint64_t out = up_to(seed, 1000), in[2];
	struct kaus_case cases[] = {
		KAUS_RECV(plain, &in[0]),
		KAUS_SEND(third, &out),
		KAUS_RECV(buffered, &in[1]),
	};
	int i;

	i = kaus_select_until(cases, 3,
			      kaus_now_ns() + up_to(seed, 200 * USEC));
	if (i == 1)
		atomic_fetch_add(&sum_sent, out);
	else if (i == 0 || i == 2)
		atomic_fetch_add(&sum_received, in[i / 2]);
	else
		CHECK_EQ(-ETIMEDOUT, i);
}

/* Until the channel is closed. */
static void drain(void *arg)
{
	uint64_t value;

	while (!kaus_chan_recv(arg, &value)) {
		CHECK(value <= 1000);
		atomic_fetch_add(&sum_received, value);
	}
}

/* ---- time ---- */

static void do_sleeps(uint64_t *seed)
{
	uint64_t due = kaus_now_ns() + up_to(seed, 2 * MSEC);

	CHECK_EQ(0, kaus_sleep_until(due));
	CHECK(kaus_now_ns() >= due);
	if (ut_rand(seed) % 2)
		kaus_yield();
}

struct ticks {
	struct kaus_timer timer;
	uint64_t due;
	atomic_int nr_early, nr, nr_done;
};

static void on_tick(void *arg)
{
	struct ticks *t = arg;

	if (kaus_now_ns() < t->due)
		atomic_fetch_add(&t->nr_early, 1);
	atomic_fetch_add(&t->nr_done, 1);
}

static void do_timers(uint64_t *seed)
{
	struct ticks t = { .nr = 0 };
	int stopped;

	kaus_timer_init(&t.timer, on_tick, &t);
	t.due = kaus_now_ns() + up_to(seed, MSEC);
	CHECK_EQ(0, kaus_timer_start(&t.timer, t.due, 0));
	if (ut_rand(seed) % 2)
		kaus_sleep(up_to(seed, 2 * MSEC));
	stopped = kaus_timer_stop(&t.timer);
	CHECK(stopped == 0 || stopped == 1);
	/* It has been started exactly if it was not stopped. */
	while (!stopped && !atomic_load(&t.nr_done))
		kaus_yield();
	CHECK_EQ(!stopped, atomic_load(&t.nr_done));
	CHECK_EQ(0, atomic_load(&t.nr_early));
}

/* ---- locks ---- */

static struct kaus_mutex mutex = KAUS_MUTEX_INIT;
static volatile uint64_t guarded[2];

static void do_mutexes(uint64_t *seed)
{
	int err = 0;

	if (ut_rand(seed) % 3)
		CHECK_EQ(0, kaus_mutex_lock(&mutex));
	else
		err = kaus_mutex_lock_until(&mutex, kaus_now_ns() +
					    up_to(seed, 50 * USEC));
	if (err) {
		CHECK_EQ(-ETIMEDOUT, err);
		return;
	}
	CHECK_EQ(guarded[0], guarded[1]);
	guarded[0]++;
	if (ut_rand(seed) % 8 == 0)
		kaus_yield();
	guarded[1]++;
	CHECK_EQ(0, kaus_mutex_unlock(&mutex));
}

static struct kaus_rwmutex rwmutex = KAUS_RWMUTEX_INIT;
static volatile uint64_t twins[2];

static void do_rwmutexes(uint64_t *seed)
{
	if (ut_rand(seed) % 4) {
		CHECK_EQ(0, kaus_rwmutex_rdlock(&rwmutex));
		CHECK_EQ(twins[0], twins[1]);
		if (ut_rand(seed) % 8 == 0)
			kaus_yield();
		CHECK_EQ(twins[0], twins[1]);
		CHECK_EQ(0, kaus_rwmutex_rdunlock(&rwmutex));
	} else {
		CHECK_EQ(0, kaus_rwmutex_wrlock(&rwmutex));
		twins[0]++;
		ut_spin(up_to(seed, 100));
		twins[1]++;
		CHECK_EQ(0, kaus_rwmutex_wrunlock(&rwmutex));
	}
}

static struct kaus_mutex cond_mutex = KAUS_MUTEX_INIT;
static struct kaus_cond cond = KAUS_COND_INIT;
static int nr_items;

/* Puts as many as it takes. */
static void do_conds(uint64_t *seed)
{
	bool put = ut_rand(seed) % 2;

	for (int i = 0; i < 2; i++, put = !put) {
		CHECK_EQ(0, kaus_mutex_lock(&cond_mutex));
		if (put) {
			nr_items++;
			CHECK_EQ(0, kaus_cond_signal(&cond));
		} else {
			/* The other half of those that take first are asleep. */
			uint64_t until = kaus_now_ns() + MSEC;

			while (!nr_items && kaus_now_ns() < until)
				kaus_cond_wait_until(&cond, &cond_mutex, until);
			if (nr_items)
				nr_items--;
		}
		CHECK(nr_items >= 0);
		CHECK_EQ(0, kaus_mutex_unlock(&cond_mutex));
	}
}

static struct kaus_sem sem = KAUS_SEM_INIT(SEM_UNITS);
static atomic_int units;

static void do_semaphores(uint64_t *seed)
{
	int nr = 1 + (int)up_to(seed, SEM_UNITS - 1);

	CHECK_EQ(0, kaus_sem_acquire(&sem, (uint32_t)nr));
	CHECK(atomic_fetch_add(&units, nr) + nr <= SEM_UNITS);
	if (ut_rand(seed) % 4 == 0)
		kaus_yield();
	atomic_fetch_sub(&units, nr);
	CHECK_EQ(0, kaus_sem_release(&sem, (uint32_t)nr));
}

static void do_contexts(uint64_t *seed)
{
	uint64_t due = kaus_now_ns() + up_to(seed, MSEC);
	struct kaus_context *outer, *inner;

	if (!CHECK_EQ(0, kaus_context_with_deadline(NULL, due, &outer)))
		return;
	CHECK_EQ(0, kaus_context_with_cancel(outer, &inner));
	if (ut_rand(seed) % 2)
		CHECK_EQ(0, kaus_context_cancel(outer));
	CHECK_EQ(-EPIPE, kaus_chan_recv(kaus_context_done(inner), NULL));
	CHECK(kaus_context_err(inner) == -ECANCELED ||
	      (kaus_context_err(inner) == -ETIMEDOUT && kaus_now_ns() >= due));
	kaus_context_put(inner);
	kaus_context_put(outer);
}

/* ---- goroutines ---- */

static void *child(void *arg)
{
	uint64_t seed = (uintptr_t)arg | 1;

	ut_spin(up_to(&seed, 1000));
	if (ut_rand(&seed) % 3 == 0)
		kaus_sleep(up_to(&seed, 100 * USEC));
	return arg;
}

static void do_spawns(uint64_t *seed)
{
	struct kaus_g *gs[10];
	uintptr_t args[10];
	size_t i, nr = up_to(seed, ARRAY_SIZE(gs));
	void *value;
	int err;

	for (i = 0; i < nr; i++) {
		args[i] = up_to(seed, 1000000);
		gs[i] = ut_spawn(child, (void *)args[i]);
	}
	for (i = 0; i < nr; i++) {
		value = NULL;
		err = -ETIMEDOUT;
		if (ut_rand(seed) % 2)
			err = kaus_join_until(gs[i], &value, kaus_now_ns());
		if (err)
			CHECK_EQ(0, kaus_join(gs[i], &value));
		CHECK_EQ(args[i], (uintptr_t)value);
	}
}

static uint32_t local_key;
static atomic_ullong nr_set, nr_destroyed;

static void destroy_local(void *value)
{
	free(value);
	atomic_fetch_add(&nr_destroyed, 1);
}

static void *with_local(void *arg)
{
	uint64_t *mine = malloc(sizeof(*mine));
	char name[32];

	snprintf(name, sizeof(name), "local %lu", (unsigned long)kaus_goid());
	kaus_set_name(name);
	*mine = kaus_goid();
	CHECK_EQ(0, (intptr_t)kaus_local_get(local_key));
	CHECK_EQ(0, kaus_local_set(local_key, mine));
	atomic_fetch_add(&nr_set, 1);
	kaus_yield();
	ut_set_errno((int)(uintptr_t)arg);
	kaus_sleep(50 * USEC);
	CHECK_EQ((uintptr_t)arg, ut_errno());
	CHECK_EQ(kaus_goid(), *(uint64_t *)kaus_local_get(local_key));
	return NULL;
}

static void do_locals(uint64_t *seed)
{
	struct kaus_g *g = ut_spawn(with_local, (void *)up_to(seed, 100));

	CHECK_EQ(0, kaus_join(g, NULL));
}

/* ---- descriptors ---- */

static kaus_fd_t listener;
static char address[64];

static bool read_all(kaus_fd_t fd, char *buf, size_t len)
{
	while (len) {
		ssize_t n = kaus_fd_read(fd, buf, len);

		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

static bool write_all(kaus_fd_t fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = kaus_fd_write(fd, buf, len);

		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

static void echo(void *arg)
{
	kaus_fd_t fd = (kaus_fd_t)(intptr_t)arg;
	char buf[1000];
	ssize_t n;

	while ((n = kaus_fd_read(fd, buf, sizeof(buf))) > 0)
		CHECK(write_all(fd, buf, (size_t)n));
	CHECK_EQ(0, n);
	CHECK_EQ(0, kaus_fd_close(fd));
}

static void serve(void *arg)
{
	kaus_fd_t fd;

	while ((fd = kaus_net_accept(listener, NULL, NULL)) > 0)
		ut_go(echo, (void *)(intptr_t)fd);
	CHECK_EQ(-ECANCELED, fd);
}

static void do_sockets(uint64_t *seed)
{
	size_t len = 1 + up_to(seed, ECHO_MAX - 1), i;
	char out[ECHO_MAX], in[ECHO_MAX];
	kaus_fd_t fd;

	fd = kaus_net_dial_until("tcp4", address, kaus_now_ns() + 1000 * SEC);
	if (!CHECK(fd > 0))
		return;
	for (int round = 0; round < 3; round++) {
		for (i = 0; i < len; i++)
			out[i] = (char)ut_rand(seed);
		CHECK(write_all(fd, out, len));
		CHECK(read_all(fd, in, len));
		CHECK_EQ(0, memcmp(out, in, len));
	}
	CHECK_EQ(0, kaus_fd_close(fd));
}

static void do_pipes(uint64_t *seed)
{
	kaus_fd_t ends[2];
	char c = (char)ut_rand(seed), got = 0;

	if (!CHECK_EQ(0, kaus_fd_pipe(ends)))
		return;
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ, kaus_now_ns() +
					 up_to(seed, 100 * USEC)));
	CHECK_EQ(-ETIMEDOUT, kaus_fd_read(ends[0], &got, 1));
	CHECK_EQ(0, kaus_fd_set_deadline(ends[0], KAUS_FD_READ,
					 KAUS_NO_DEADLINE));
	CHECK_EQ(1, kaus_fd_write(ends[1], &c, 1));
	CHECK_EQ(1, kaus_fd_read(ends[0], &got, 1));
	CHECK_EQ(c, got);
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	CHECK_EQ(0, kaus_fd_close(ends[1]));
}

/* ---- the kernel and the CPU ---- */

static void *nap(void *arg)
{
	struct timespec ts = { 0, *(long *)arg };

	nanosleep(&ts, NULL);
	return arg;
}

static void do_blocking(uint64_t *seed)
{
	long ns = (long)up_to(seed, MSEC);

	if (ut_rand(seed) % 2)
		nap(&ns);
	else
		CHECK(kaus_blocking(nap, &ns) == &ns);
	CHECK_EQ(getpid(), kaus_syscall(SYS_getpid));
}

static void do_hogs(uint64_t *seed)
{
	uint64_t before = ut_rand(seed), x = before;

	/* Registers survive whatever interrupts this. */
	for (unsigned long n = up_to(seed, 2000000); n; n--) {
		x ^= n;
		x ^= n;
		__asm__ volatile("" : "+r"(x));
	}
	CHECK_EQ(before, x);
}

static void do_no_preemption(uint64_t *seed)
{
	kaus_preempt_disable();
	ut_spin(up_to(seed, 20000));
	kaus_preempt_enable();
	kaus_yield();
}

static void do_own_threads(uint64_t *seed)
{
	long tid;

	CHECK_EQ(0, kaus_lock_thread());
	tid = syscall(SYS_gettid);
	for (uint64_t n = up_to(seed, 5); n; n--) {
		kaus_yield();
		CHECK_EQ(tid, syscall(SYS_gettid));
		kaus_sleep(up_to(seed, 50 * USEC));
		CHECK_EQ(tid, syscall(SYS_gettid));
	}
	CHECK_EQ(0, kaus_unlock_thread());
}

static void do_memory(uint64_t *seed)
{
	size_t size = 1 + up_to(seed, 20000);
	unsigned char *block = malloc(size), mark = (unsigned char)*seed;

	memset(block, mark, size);
	kaus_yield();
	for (size_t i = 0; i < size; i += 61)
		CHECK_EQ(mark, block[i]);
	free(block);
}

/* A plain thread of the program's own. */
static void *outside(void *arg)
{
	uint64_t seed = (uintptr_t)arg | 1;

	while (go_on()) {
		do_channels(&seed);
		do_mutexes(&seed);
		if (ut_rand(&seed) % 16 == 0)
			CHECK_EQ(0, kaus_set_slice(up_to(&seed, 5 * MSEC)));
		ut_stats();
		atomic_fetch_add(&counts[OUTSIDE], 1);
		usleep((unsigned int)up_to(&seed, 1000));
	}
	return NULL;
}

/* ---- all of it ---- */

static void (*const steps[NR_FEATURES])(uint64_t *seed) = {
	[CHANNELS] = do_channels,
	[SELECTS] = do_selects,
	[SLEEPS] = do_sleeps,
	[TIMERS] = do_timers,
	[MUTEXES] = do_mutexes,
	[RWMUTEXES] = do_rwmutexes,
	[CONDS] = do_conds,
	[SEMAPHORES] = do_semaphores,
	[CONTEXTS] = do_contexts,
	[SPAWNS] = do_spawns,
	[LOCALS] = do_locals,
	[SOCKETS] = do_sockets,
	[PIPES] = do_pipes,
	[BLOCKING] = do_blocking,
	[HOGS] = do_hogs,
	[NO_PREEMPTION] = do_no_preemption,
	[OWN_THREADS] = do_own_threads,
	[MEMORY] = do_memory,
};

struct worker {
	enum feature feature;
	uint64_t seed;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	kaus_set_name(names[w->feature]);
	/* One step at least, however slow the machine is. */
	do {
		steps[w->feature](&w->seed);
		atomic_fetch_add(&counts[w->feature], 1);
	} while (go_on());
	return NULL;
}

static void start_server(void)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	listener = kaus_net_listen("tcp4", "127.0.0.1:0");
	if (!CHECK(listener > 0))
		return;
	CHECK_EQ(0, getsockname(kaus_fd_num(listener), (struct sockaddr *)&in,
				&len));
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(in.sin_port));
	ut_go(serve, NULL);
}

static int soak_main(void *arg)
{
	static struct worker workers[WORKERS_EACH * OUTSIDE];
	struct kaus_g *gs[WORKERS_EACH * OUTSIDE];
	struct kaus_chan *chans[3];
	uint64_t seed = *(uint64_t *)arg;
	pthread_t thread;
	size_t i;

	CHECK_EQ(0, kaus_local_create(destroy_local, &local_key));
	chans[0] = plain = kaus_chan_make(sizeof(uint64_t), 0);
	chans[1] = buffered = kaus_chan_make(sizeof(uint64_t), 7);
	chans[2] = third = kaus_chan_make(sizeof(uint64_t), 1);
	for (i = 0; i < 3; i++)
		ut_go(drain, chans[i]);
	start_server();
	CHECK_EQ(0, pthread_create(&thread, NULL, outside,
				   (void *)(uintptr_t)ut_rand(&seed)));
	for (i = 0; i < ARRAY_SIZE(gs); i++) {
		workers[i] = (struct worker){ i % OUTSIDE, ut_rand(&seed) };
		gs[i] = ut_spawn(work, &workers[i]);
	}
	for (i = 0; i < ARRAY_SIZE(gs); i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	pthread_join(thread, NULL);

	CHECK_EQ(0, kaus_fd_close(listener));
	for (i = 0; i < 3; i++)
		CHECK_EQ(0, kaus_chan_close(chans[i]));
	/* Servers, receivers and those that the timers have started. */
	while (ut_stats().nr_gs > 1)
		kaus_sleep(MSEC);
	CHECK_EQ(sum_sent, sum_received);
	CHECK_EQ(nr_set, nr_destroyed);
	CHECK_EQ(guarded[0], guarded[1]);
	for (i = 0; i < NR_FEATURES; i++) {
		dprintf(STDERR_FILENO, "# %-14s %llu\n", names[i], counts[i]);
		CHECK(counts[i] > 0);
	}
	for (i = 0; i < 3; i++)
		kaus_chan_free(chans[i]);
	return 0;
}

TEST(soak)
{
	const char *seed_text = getenv("KAUS_TEST_SEED");
	const char *seconds = getenv("KAUS_TEST_SECONDS");
	uint64_t seed;

	seed = seed_text ? strtoull(seed_text, NULL, 0) : kaus_now_ns() | 1;
	TH_LOG("KAUS_TEST_SEED=%llu", (unsigned long long)seed);
	end_ns = (seconds ? strtoull(seconds, NULL, 0) : 10) * SEC;
	end_ns += kaus_now_ns();
	RUN(soak_main, &seed);
}

TEST_HARNESS_MAIN
