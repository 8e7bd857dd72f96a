// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live upgrade: drain, unload, load the other build, once a second, under a
 * load of ten thousand goroutines and 64 connections. The two builds report
 * different minor versions of the ABI.
 *
 * Each goroutine counts what it does, and each count has to move between one
 * upgrade and the next: a goroutine in no queue, a P that nobody has, a wake-up
 * that went to the wrong pool show as one that stands still, and are named. A
 * request that is not answered, or by something else, is seen by its sender.
 * How long anybody was kept waiting is reported for the module alone, for the
 * steps of an upgrade and for signals alone; it is limited only where the clock
 * counts instructions.
 *
 * KAUS_UPGRADES: how many; KAUS_UPGRADE_LIMIT_MS: the limit. Needs root and a
 * second build, /vm/kaus-next.ko.
 */
#include <fcntl.h>
#include <linux/kaus.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "utest.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 3600

#define PARAM		"/sys/module/kaus/parameters/"
#define NR_GS		10000
#define NR_CONNS	64
#define NR_PAIRS	2000
#define NR_EACH		8
#define NR_HOGS		1
#define NR_SLEEPERS	(NR_GS - 2 * (NR_CONNS + NR_PAIRS + NR_EACH) - NR_HOGS)
#define PERIOD_NS	(800 * MSEC)
#define CLIENT_NS	(100 * MSEC)
#define ROUND_NS	SEC

static const char *const builds[] = { "/vm/kaus-next.ko", "/vm/kaus.ko" };

/* --- the administrator --- */

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * Loading and unloading switch code of the scheduler. A second emulated CPU
 * that runs through it meanwhile may crash (tests/vm/run.sh).
 */
static void other_cpus(const char *on)
{
	char path[64];

	if (!getenv("KAUS_VM") || getenv("KAUS_VM_ONE_THREAD"))
		return;
	for (int cpu = 1; cpu < 64; cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", cpu);
		put(path, on);
	}
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static int unload(void)
{
	while (syscall(SYS_delete_module, "kaus", O_NONBLOCK)) {
		if (errno != EAGAIN && errno != EBUSY)
			return -errno;
		usleep(1000);
	}
	return 0;
}

static int abi_minor(void)
{
	struct kaus_info info = { .size = sizeof(info) };
	int fd = open("/dev/kaus", O_RDWR | O_CLOEXEC);
	int ret;

	ret = fd >= 0 && !ioctl(fd, KAUS_IOC_INFO, &info) ?
	      (int)info.abi_minor : -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* --- waiting times --- */

/* Of the administrator; a wait belongs to that in which it began. */
enum phase { MODULE, DRAIN, UNLOAD, LOAD, ATTACH, AFTER, SIGNALS, NR_PHASES };
static const char *const phase_names[] = {
	"module", "drain", "unload", "load", "attach", "after", "signals",
};

/* Who waits is late for its timer, or for an answer. */
enum wait { TIMER, ANSWER, TOKEN, NR_WAITS };
static const char *const wait_names[] = { "timer", "answer", "token" };

static atomic_uint phase;
static atomic_ulong entered_ns[NR_PHASES];
static uint64_t spent_ns[NR_PHASES];
static struct waits {
	atomic_ulong nr, max_ns, nr_over_1ms, nr_over_10ms;
} waits[NR_PHASES][NR_WAITS];

/* From @begin to now. */
static void waited(enum wait what, uint64_t begin)
{
	uint64_t ns = kaus_now_ns() - begin;
	unsigned int p = atomic_load(&phase);
	struct waits *w;
	unsigned long max;

	for (int i = 0; p != MODULE && i < AFTER && begin < entered_ns[p]; i++)
		p = p == DRAIN ? AFTER : p - 1;
	w = &waits[p][what];
	max = atomic_load(&w->max_ns);
	atomic_fetch_add(&w->nr, 1);
	if (ns > MSEC)
		atomic_fetch_add(&w->nr_over_1ms, 1);
	if (ns > 10 * MSEC)
		atomic_fetch_add(&w->nr_over_10ms, 1);
	while (ns > max && !atomic_compare_exchange_weak(&w->max_ns, &max, ns))
		;
}

static void enter(enum phase next)
{
	unsigned int old = atomic_load(&phase);
	uint64_t now = kaus_now_ns();

	if (atomic_load(&entered_ns[old]))
		spent_ns[old] += now - atomic_load(&entered_ns[old]);
	atomic_store(&entered_ns[next], now);
	atomic_store(&phase, next);
}

/* Returns the longest wait, in milliseconds. */
static unsigned long report(void)
{
	unsigned long longest = 0;

	for (int p = 0; p < NR_PHASES; p++) {
		if (spent_ns[p])
			printf("# %s: %llu ms\n", phase_names[p],
			       (unsigned long long)(spent_ns[p] / MSEC));
		for (int i = 0; i < NR_WAITS; i++) {
			struct waits *w = &waits[p][i];

			if (atomic_load(&w->max_ns) > longest)
				longest = atomic_load(&w->max_ns);
			printf("# %-8s %-6s: %lu waits, longest %lu us, %lu over 1 ms, %lu over 10 ms\n",
			       phase_names[p], wait_names[i],
			       atomic_load(&w->nr),
			       atomic_load(&w->max_ns) / 1000,
			       atomic_load(&w->nr_over_1ms),
			       atomic_load(&w->nr_over_10ms));
		}
	}
	return longest / MSEC;
}

/* --- the load --- */

static atomic_bool stop;
static struct kaus_waitgroup wg;
static atomic_uint counts[NR_GS];
static const char *kinds[NR_GS];
static atomic_ulong nr_asked, nr_answered;

static void count(unsigned int id)
{
	atomic_fetch_add(&counts[id], 1);
}

/*
 * The next time of a period that has its own beginning. Who sleeps for a period
 * from now on comes back together with all who were held up with him, and from
 * then on they wait for each other.
 */
static void next(uint64_t *due, uint64_t period)
{
	uint64_t now = kaus_now_ns();

	*due += period;
	if (*due < now)
		*due += (now - *due + period - 1) / period * period;
	kaus_sleep_until(*due);
}

static void sleeper(void *arg)
{
	uint64_t due = kaus_now_ns();

	while (!atomic_load(&stop)) {
		next(&due, PERIOD_NS);
		waited(TIMER, due);
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

/* In the kernel; without the module a signal may come just then (sysmon.c). */
static void kernel_sleeper(void *arg)
{
	struct timespec nap = { .tv_nsec = 20 * MSEC };

	while (!atomic_load(&stop)) {
		CHECK(!nanosleep(&nap, NULL) || ut_errno() == EINTR);
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

static void locked(void *arg)
{
	long tid;

	kaus_lock_thread();
	tid = syscall(SYS_gettid);
	while (!atomic_load(&stop)) {
		kaus_sleep(50 * MSEC);
		CHECK(tid == syscall(SYS_gettid));
		count((uintptr_t)arg);
	}
	kaus_unlock_thread();
	kaus_waitgroup_done(&wg);
}

static uint64_t sum(void)
{
	uint64_t x = 1;

	for (int i = 0; i < 1000000; i++)
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	return x;
}

static void hog(void *arg)
{
	uint64_t ref = sum();

	while (!atomic_load(&stop)) {
		CHECK(sum() == ref);
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

static struct pair {
	unsigned int ids[2];
	struct kaus_chan *there, *back;
} pairs[NR_PAIRS];

static void pinger(void *arg)
{
	uint64_t begin, due = kaus_now_ns();
	struct pair *pair = arg;

	for (uint64_t i = 0, j; !atomic_load(&stop); i++) {
		next(&due, PERIOD_NS);
		begin = kaus_now_ns();
		CHECK_EQ(0, kaus_chan_send(pair->there, &i));
		CHECK_EQ(0, kaus_chan_recv(pair->back, &j));
		CHECK(i == j);
		waited(TOKEN, begin);
		count(pair->ids[0]);
	}
	kaus_chan_close(pair->there);
	kaus_waitgroup_done(&wg);
}

static void ponger(void *arg)
{
	struct pair *pair = arg;
	uint64_t i;

	while (!kaus_chan_recv(pair->there, &i)) {
		CHECK_EQ(0, kaus_chan_send(pair->back, &i));
		count(pair->ids[1]);
	}
	kaus_waitgroup_done(&wg);
}

static struct conn {
	unsigned int ids[2];
	kaus_fd_t fds[2];
} conns[NR_CONNS];

struct message {
	uint64_t conn, nr, answer;
};

static uint64_t answer_to(const struct message *m)
{
	return (m->nr + m->conn) * 6364136223846793005ULL;
}

static void client(void *arg)
{
	struct conn *conn = arg;
	struct message m = { .conn = conn - conns };
	uint64_t begin, due = kaus_now_ns() + m.conn * CLIENT_NS / NR_CONNS;

	for (uint64_t nr = 0; !atomic_load(&stop); nr++) {
		next(&due, CLIENT_NS);
		begin = kaus_now_ns();
		m.nr = nr;
		m.answer = 0;
		CHECK_EQ(0, kaus_fd_write_all(conn->fds[0], &m, sizeof(m), NULL));
		atomic_fetch_add(&nr_asked, 1);
		CHECK_EQ(sizeof(m), kaus_fd_read_full(conn->fds[0], &m, sizeof(m)));
		CHECK(m.nr == nr && m.answer == answer_to(&m));
		waited(ANSWER, begin);
		count(conn->ids[0]);
	}
	kaus_fd_close(conn->fds[0]);
	kaus_waitgroup_done(&wg);
}

static void server(void *arg)
{
	struct conn *conn = arg;
	struct message m;

	while (kaus_fd_read_full(conn->fds[1], &m, sizeof(m)) == sizeof(m)) {
		m.answer = answer_to(&m);
		CHECK_EQ(0, kaus_fd_write_all(conn->fds[1], &m, sizeof(m), NULL));
		atomic_fetch_add(&nr_answered, 1);
		count(conn->ids[1]);
	}
	kaus_fd_close(conn->fds[1]);
	kaus_waitgroup_done(&wg);
}

static unsigned int nr_ids;

static unsigned int new_id(const char *kind)
{
	kinds[nr_ids] = kind;
	return nr_ids++;
}

static void start_counting(const char *kind, void (*fn)(void *), int nr)
{
	for (int i = 0; i < nr; i++)
		CHECK_EQ(0, kaus_go(fn, (void *)(uintptr_t)new_id(kind)));
}

static void start_connections(void)
{
	kaus_fd_t listener = kaus_net_listen("tcp4", "127.0.0.1:7777");

	CHECK(listener > 0);
	for (int i = 0; i < NR_CONNS; i++) {
		conns[i].ids[0] = new_id("client");
		conns[i].ids[1] = new_id("server");
		conns[i].fds[0] = kaus_net_dial("tcp4", "127.0.0.1:7777");
		CHECK(conns[i].fds[0] > 0);
		conns[i].fds[1] = kaus_net_accept(listener, NULL, NULL);
		CHECK(conns[i].fds[1] > 0);
		CHECK_EQ(0, kaus_go(server, &conns[i]));
		CHECK_EQ(0, kaus_go(client, &conns[i]));
	}
	kaus_fd_close(listener);
}

static void start_load(void)
{
	CHECK_EQ(0, kaus_waitgroup_add(&wg, NR_GS));
	start_connections();
	for (int i = 0; i < NR_PAIRS; i++) {
		pairs[i].ids[0] = new_id("pinger");
		pairs[i].ids[1] = new_id("ponger");
		pairs[i].there = kaus_chan_make(sizeof(uint64_t), i % 2);
		pairs[i].back = kaus_chan_make(sizeof(uint64_t), 0);
		CHECK_EQ(0, kaus_go(ponger, &pairs[i]));
		CHECK_EQ(0, kaus_go(pinger, &pairs[i]));
		/* Not all at the same time. */
		if (i % 50 == 0)
			kaus_sleep(PERIOD_NS * 50 / NR_PAIRS);
	}
	start_counting("kernel_sleeper", kernel_sleeper, NR_EACH);
	start_counting("locked", locked, NR_EACH);
	start_counting("hog", hog, NR_HOGS);
	while (nr_ids < NR_GS) {
		unsigned int nr = NR_GS - nr_ids;

		start_counting("sleeper", sleeper, nr < 100 ? nr : 100);
		kaus_sleep(PERIOD_NS * 100 / NR_SLEEPERS);
	}
}

/*
 * Every goroutine has done something since the last time. One that does not is
 * waited for until the harness gives up, but named before.
 */
static void await_all(void)
{
	static unsigned int seen[NR_GS];
	uint64_t patience = kaus_now_ns() + 30 * SEC;

	for (unsigned int i = 0; i < NR_GS; i++) {
		while (atomic_load(&counts[i]) == seen[i]) {
			usleep(10000);
			if (kaus_now_ns() < patience)
				continue;
			printf("# %s %u stands still\n", kinds[i], i);
			fflush(stdout);
			patience = UINT64_MAX;
		}
	}
	for (unsigned int i = 0; i < NR_GS; i++)
		seen[i] = atomic_load(&counts[i]);
}

static bool is_assisted_by(const char *name)
{
	struct kaus_stats st = { .size = sizeof(st) };

	return !kaus_stats_read(&st) && !strcmp(st.assist, name);
}

static void await_assist(const char *name)
{
	while (!is_assisted_by(name))
		usleep(1000);
}

static int nr_upgrades = 3;

/* A plain thread, as the administrator's shell would be. */
static void *administrator(void *arg)
{
	uint64_t begin, went, longest = 0;
	int minors[2] = { 0 };

	sleep(1);
	await_all();
	enter(MODULE);
	for (int i = 0; i < nr_upgrades; i++) {
		begin = kaus_now_ns();
		enter(DRAIN);
		CHECK(put(PARAM "drain", "1"));
		enter(UNLOAD);
		CHECK_EQ(0, unload());
		enter(LOAD);
		CHECK_EQ(0, load(builds[i % 2]));
		enter(ATTACH);
		await_assist("module");
		enter(AFTER);
		went = kaus_now_ns() - begin;
		if (went > longest)
			longest = went;
		minors[i % 2] = abi_minor();
		while (kaus_now_ns() - begin < ROUND_NS)
			usleep(10000);
		await_all();
	}
	printf("# %d upgrades, ABI minor %d and %d, the longest %llu ms\n",
	       nr_upgrades, minors[0], minors[1],
	       (unsigned long long)(longest / MSEC));
	CHECK(nr_upgrades < 2 || minors[0] == minors[1] + 1);
	CHECK(put(PARAM "drain", "1"));
	await_assist("signal");
	await_all();
	enter(SIGNALS);
	sleep(1);
	await_all();
	CHECK(put(PARAM "drain", "0"));
	await_assist("module");
	await_all();
	atomic_store(&stop, true);
	return NULL;
}

static int main_g(void *arg)
{
	pthread_t thread;

	CHECK(is_assisted_by("module"));
	start_load();
	CHECK_EQ(0, pthread_create(&thread, NULL, administrator, NULL));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	pthread_join(thread, NULL);
	CHECK(atomic_load(&nr_asked) == atomic_load(&nr_answered));
	return 0;
}

/* The harness runs the test in a child: what it leaves is put right here. */
static void clean_up(void)
{
	if (access("/sys/module/kaus", F_OK))
		load(builds[1]);
	put(PARAM "drain", "0");
	other_cpus("1");
}

__attribute__((constructor)) static void at_exit(void)
{
	if (!access(PARAM "drain", W_OK))
		atexit(clean_up);
}

TEST(under_load)
{
	/* As many as there are processors before the others go. */
	struct kaus_options opts = ut_procs(sysconf(_SC_NPROCESSORS_ONLN));
	const char *limit = getenv("KAUS_UPGRADE_LIMIT_MS");
	const char *nr = getenv("KAUS_UPGRADES");
	unsigned long longest;

	if (geteuid() || getenv("KAUS_ASSIST"))
		SKIP(return, "not root, or an assist is given");
	if (access(PARAM "drain", W_OK))
		SKIP(return, "no module that may be drained");
	if (access(builds[0], R_OK) || access(builds[1], R_OK))
		SKIP(return, "no second build in /vm/kaus-next.ko");
	if (nr)
		nr_upgrades = atoi(nr);
	other_cpus("0");
	RUN_WITH(&opts, main_g, NULL);
	longest = report();
	printf("# %lu requests\n", atomic_load(&nr_answered));
	if (limit)
		EXPECT_GT(strtoul(limit, NULL, 10), longest);
}

TEST_HARNESS_MAIN
