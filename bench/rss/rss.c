// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * How fast memory that is not used any more goes back to the kernel, if nobody
 * asks for it: prints "metric value unit". On the heaps of ../mem/heap.h;
 * bench/go/rss.go is the same in Go.
 *
 *	drop	RSS_MB (2048) in objects of 1 KiB, all dropped at once: time
 *		until half of the resident memory is gone, and CPU time until
 *		PATIENCE_MS after the drop, of the process, which looks at its
 *		own size, and of the thread that returns memory alone
 *	peak	1.1 GiB in objects of 512 bytes, of which each 70th stays: what
 *		is resident some time later, as a multiple of the pages that
 *		have a survivor on them and were resident before
 *	pressed	the same in a control group of its own, which reaches its
 *		memory.high right afterwards: time until it is 1.15 times those
 *		pages, and what it is in the end. Needs the right to make a
 *		group with the memory controller of version 2
 *	pressed_drop	"drop", in such a group: time until half is gone
 *	lowered	RSS_MB (512) in objects of 1 KiB, of which the first 16th stays,
 *		or each LOWER_STEPth if that is set, in a control group whose
 *		memory.max, four times as much, becomes a fourth of it LOWER_MS
 *		(200) after that. The program allocates and drops all the time:
 *		is it killed, how long it took to lower the limit, how long the
 *		worst MiB of allocations took then, and the slowest second as a
 *		share of the mean; how soon the heap's own limit has followed,
 *		and the most of a second that the collector took. Needs the same
 *		right
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../mem/heap.h"

#define PATIENCE_MS	10000
#define PAGE		4096UL

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void nap_ms(long ms)
{
#ifdef HEAP_KAUS
	kaus_sleep((uint64_t)ms * 1000000);
#else
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
#endif
}

static void collect(void)
{
#if defined(HEAP_KAUS)
	kaus_gc();
#elif defined(HEAP_GC)
	GC_gcollect();
#endif
}

static double resident_mb(void)
{
	unsigned long size, nr = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &nr) != 2)
		nr = 0;
	if (f)
		fclose(f);
	return (double)nr * PAGE / (1 << 20);
}

static void *must(void *obj)
{
	if (!obj) {
		fprintf(stderr, "rss: no memory\n");
		exit(1);
	}
	return obj;
}

/* Percent of one CPU, of the thread that returns memory. */
static void report_scavenger(const char *metric)
{
#ifdef HEAP_KAUS
	struct kaus_gc_stats st = { .size = sizeof(st) };

	if (!kaus_gc_stats_read(&st))
		printf("%s %.3g %%\n", metric, (double)st.scavenge_cpu_ns /
		       (PATIENCE_MS * 1e6) * 100);
#else
	(void)metric;
#endif
}

/* Where the objects are; on the heap, so that a collector sees them. */
static char **objs;

static void fill(size_t nr, size_t size)
{
	objs = must(heap_alloc(nr * sizeof(*objs)));
	memset(objs, 0, nr * sizeof(*objs));
	for (size_t i = 0; i < nr; i++) {
		char *obj = must(heap_alloc_noscan(size));

		memset(obj, 1, size);
		HEAP_STORE(&objs[i], obj);
	}
}

static void drop_all_but(size_t nr, size_t step)
{
	for (size_t i = 0; i < nr; i++) {
		if (step && i % step == 0)
			continue;
		heap_drop(objs[i]);
		HEAP_STORE(&objs[i], NULL);
	}
}

static size_t env_or(const char *name, size_t other)
{
	const char *env = getenv(name);

	return env && atol(env) > 0 ? (size_t)atol(env) : other;
}

static void drop(void)
{
	size_t nr = env_or("RSS_MB", 2048) << 10;
	uint64_t start, cpu, half = 0;
	double before;

	fill(nr, 1024);
	before = resident_mb();
	start = clock_ms(CLOCK_MONOTONIC);
	drop_all_but(nr, 0);
	collect();
	cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
	for (;;) {
		uint64_t now = clock_ms(CLOCK_MONOTONIC) - start;

		if (!half && resident_mb() < before / 2)
			half = now;
		if (now >= PATIENCE_MS)
			break;
		nap_ms(10);
	}
	printf("drop_half %.4g ms\n", half ? (double)half : PATIENCE_MS);
	printf("drop_cpu %.4g ms\n",
	       (double)(clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu));
	report_scavenger("drop_scavenger");
	printf("drop_left %.4g MB\n", resident_mb());
}

/* What a collector and its kernel could get it to. */
static double fill_and_drop(void)
{
	size_t nr = (1100UL << 20) / 512, nr_pages = 0;
	double before = resident_mb(), ideal;
	uintptr_t last = 0;

	fill(nr, 512);
	drop_all_but(nr, 70);
	/* Objects of one size lie in order, more or less: 35 KiB apart. */
	for (size_t i = 0; i < nr; i += 70) {
		uintptr_t page = (uintptr_t)objs[i] / PAGE;

		nr_pages += page != last;
		last = page;
	}
	ideal = before + (double)(nr_pages * PAGE +
				  nr * sizeof(*objs)) / (1 << 20);
	collect();
	return ideal;
}

static void peak(void)
{
	double ideal = fill_and_drop();

	printf("peak_ideal %.4g MB\n", ideal);
	nap_ms(100);
	printf("peak_100ms %.4g x\n", resident_mb() / ideal);
	nap_ms(900);
	printf("peak_1s %.4g x\n", resident_mb() / ideal);
	nap_ms(PATIENCE_MS - 1000);
	printf("peak_10s %.4g x\n", resident_mb() / ideal);
	report_scavenger("peak_scavenger");
}

/* ---- a control group at its limit ---- */

static char group[64];

static int group_write(const char *name, const char *value)
{
	char path[128];
	ssize_t done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	done = write(fd, value, strlen(value));
	close(fd);
	return done < 0 ? -errno : 0;
}

static long long group_read(const char *name)
{
	char path[128];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%lld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

static bool group_make(void)
{
	strcpy(group, "/sys/fs/cgroup");
	(void)group_write("cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/kaus-rss-%d", getpid());
	return !mkdir(group, 0755) && group_read("memory.current") >= 0;
}

static bool group_enter(void)
{
	return group_make() && !group_write("cgroup.procs", "0");
}

static void group_leave(void)
{
	const char *base = "/sys/fs/cgroup/cgroup.procs";
	int fd = open(base, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, "0", 1);
		close(fd);
	}
	rmdir(group);
}

static void touch(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, bytes);
	munmap(p, bytes);
}

/* The limit is reached now: ms until no more than @mb is resident. */
static double press(double mb)
{
	uint64_t start, now, done = 0;
	size_t bytes = 4 << 20;
	char high[32];

	snprintf(high, sizeof(high), "%lld", group_read("memory.current"));
	start = clock_us();
	group_write("memory.high", high);
	do {
		touch(bytes);
		now = clock_us() - start;
		if (!done && resident_mb() < mb)
			done = now;
		nap_ms(1);
	} while (now < PATIENCE_MS * 6000 && (!done || now < done + 1000000));
	return done ? (double)done / 1000 : 6.0 * PATIENCE_MS;
}

static void pressed(void)
{
	double ideal = fill_and_drop(), done = press(1.15 * ideal);

	printf("pressed_ideal %.4g MB\n", ideal);
	printf("pressed_done %.4g ms\n", done);
	printf("pressed_left %.4g x\n", resident_mb() / ideal);
}

static void pressed_drop(void)
{
	size_t nr = env_or("RSS_MB", 2048) << 10;
	double before;

	fill(nr, 1024);
	before = resident_mb();
	drop_all_but(nr, 0);
	collect();
	printf("pressed_drop_half %.4g ms\n", press(before / 2));
	printf("pressed_drop_left %.4g MB\n", resident_mb());
}

/* ---- a limit that is lowered ---- */

#define WORK_S	10
#define ROUND	1024		/* objects of 1 KiB */

static int ready_fd;		/* the one that lowers it waits for a word there */

static double work_round(void)
{
	uint64_t start = clock_us();

	for (int i = 0; i < ROUND; i++) {
		char *obj = must(heap_alloc_noscan(1024));

		memset(obj, 1, 1024);
		heap_drop(obj);
	}
	return (double)(clock_us() - start) / 1000;
}

/* Of the heap, and CPU time of the collector in ms; -1, 0: there are none. */
static long long heap_limit(double *ret_gc_ms)
{
#ifdef HEAP_KAUS
	struct kaus_gc_stats st = { .size = sizeof(st) };

	*ret_gc_ms = kaus_gc_stats_read(&st) ? 0 :
		     (double)(st.mark_cpu_ns + st.scavenge_cpu_ns) / 1e6;
	return kaus_gc_get(KAUS_GC_LIMIT);
#else
	*ret_gc_ms = 0;
	return -1;
#endif
}

static void work_on(void)
{
	size_t rounds[WORK_S] = { 0 }, least = SIZE_MAX, sum = 0;
	double worst = 0, gc_ms, gc_before, most_gc = 0, ms;
	long long limit = heap_limit(&gc_before);
	uint64_t start = clock_ms(CLOCK_MONOTONIC), followed = 0, now = 0;
	size_t s = 0;

	if (write(ready_fd, "r", 1) != 1)
		exit(1);
	while (s < WORK_S) {
		ms = work_round();
		if (ms > worst)
			worst = ms;
		rounds[s]++;
		now = clock_ms(CLOCK_MONOTONIC) - start;
		if (!followed && heap_limit(&gc_ms) != limit)
			followed = now;
		if (now / 1000 == s)
			continue;
		heap_limit(&gc_ms);
		if (gc_ms - gc_before > most_gc)
			most_gc = gc_ms - gc_before;
		gc_before = gc_ms;
		s = now / 1000;
	}
	for (s = 0; s < WORK_S; s++) {
		sum += rounds[s];
		if (rounds[s] < least)
			least = rounds[s];
	}
	printf("lowered_round_worst %.4g ms\n", worst);
	printf("lowered_second_least %.3g x\n",
	       (double)least * WORK_S / (double)sum);
	printf("lowered_rate %.4g MB/s\n", (double)sum / WORK_S);
#ifdef HEAP_KAUS
	printf("lowered_followed %.4g ms\n",
	       followed ? (double)followed : WORK_S * 1000.0);
	printf("lowered_gc_most %.3g ms/s\n", most_gc);
#endif
	printf("lowered_left %.4g MB\n", resident_mb());
}

static void lowered(void)
{
	size_t nr = env_or("RSS_MB", 512) << 10, step = env_or("LOWER_STEP", 0);

	fill(nr, 1024);
	/* The first ones, or some of all. */
	for (size_t i = 0; i < nr; i++) {
		if (step ? i % step == 0 : i < nr / 16)
			continue;
		heap_drop(objs[i]);
		HEAP_STORE(&objs[i], NULL);
	}
	collect();
	nap_ms((long)env_or("LOWER_MS", 200));
	work_on();
}

/* The parent of one that is in the group: lowers the limit, sees it die or not. */
static int lower(int fd, pid_t pid)
{
	char word, max[32];
	uint64_t start;
	int status;

	if (read(fd, &word, 1) != 1)
		fprintf(stderr, "rss: it has ended before\n");
	snprintf(max, sizeof(max), "%lld", (long long)env_or("RSS_MB", 512) << 18);
	printf("lowered_from %.4g MB\n",
	       (double)group_read("memory.current") / (1 << 20));
	start = clock_us();
	group_write("memory.max", max);
	printf("lowered_write %.4g ms\n", (double)(clock_us() - start) / 1000);
	printf("lowered_to %.4g MB\n", (double)atoll(max) / (1 << 20));
	fflush(stdout);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	printf("lowered_survived %d times\n", WIFEXITED(status));
	return 0;
}

static const struct {
	const char *name;
	void (*run)(void);
} works[] = {
	{ "drop", drop },
	{ "peak", peak },
	{ "pressed", pressed },
	{ "pressed_drop", pressed_drop },
	{ "lowered", lowered },
};

static int run(void *arg)
{
	works[*(size_t *)arg].run();
	return 0;
}

int main(int argc, char **argv)
{
	size_t nr = sizeof(works) / sizeof(works[0]), i = 0;
	int err, fds[2];
	pid_t pid;

	while (argc == 2 && i < nr && strcmp(argv[1], works[i].name))
		i++;
	if (argc != 2 || i == nr) {
		fprintf(stderr, "usage: %s drop|peak|pressed|pressed_drop|lowered\n",
			argv[0]);
		return 2;
	}
	/* Before there are threads. */
	if ((works[i].run == pressed || works[i].run == pressed_drop) &&
	    !group_enter()) {
		fprintf(stderr, "rss: no control group to be had\n");
		group_leave();
		return 1;
	}
	if (works[i].run == lowered) {
		char max[32];

		snprintf(max, sizeof(max), "%zu", env_or("RSS_MB", 512) << 22);
		if (!group_make() || group_write("memory.max", max) ||
		    pipe(fds)) {
			fprintf(stderr, "rss: no control group to be had\n");
			rmdir(group);
			return 1;
		}
		pid = fork();
		if (pid) {
			close(fds[1]);
			err = pid < 0 || lower(fds[0], pid);
			rmdir(group);
			return err;
		}
		ready_fd = fds[1];
		if (group_write("cgroup.procs", "0"))
			return 1;
		group[0] = 0;
	}
	err = heap_run(run, &i);
	if (group[0])
		group_leave();
	return err ? 1 : 0;
}
