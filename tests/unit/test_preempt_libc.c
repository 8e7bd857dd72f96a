// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preemption in the midst of code that knows nothing of goroutines: malloc,
 * snprintf, stdio, qsort, a pthread mutex, thread-local variables. Such code
 * holds locks and keeps addresses of the thread's own data in registers, so
 * that the goroutine must go on on the thread it was stopped on, and no other
 * may use that thread meanwhile.
 *
 * If it is broken: a corrupt heap, output of two lines in one, a goroutine
 * that deadlocks with itself on the lock of malloc (a hang), a thread-local
 * variable that changes between two instructions.
 */
#include "utest.h"

UT_PREEMPTS

static struct kaus_waitgroup wg;
static atomic_bool stop;

#define NR_PREEMPTS 50

/* Run @fn on three goroutines for each P until there were preemptions. */
static int disturb(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 3;
	void (**fn)(void *) = arg;
	uint64_t until;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(*fn, (void *)(uintptr_t)(i + 1));
	until = ut_stats().nr_preempts + NR_PREEMPTS;
	while (ut_stats().nr_preempts < until)
		kaus_sleep(2 * MSEC);
	atomic_store(&stop, true);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

#define DISTURB(name)                           \
	do {                                    \
		void (*fn_)(void *) = (name);   \
		RUN(disturb, &fn_);             \
	} while (0)

#define NR_BLOCKS 64

static void allocate(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 0x9e3779b97f4a7c15ULL;
	unsigned char *blocks[NR_BLOCKS] = { 0 };
	size_t sizes[NR_BLOCKS] = { 0 }, i, j;

	while (!atomic_load(&stop)) {
		i = ut_rand(&seed) % NR_BLOCKS;
		for (j = 0; j < sizes[i]; j++)
			if (!CHECK(blocks[i][j] == (unsigned char)(i * 7)))
				break;
		if (ut_rand(&seed) % 2) {
			free(blocks[i]);
			sizes[i] = 1 + ut_rand(&seed) % 3000;
			blocks[i] = malloc(sizes[i]);
		} else {
			sizes[i] = 1 + ut_rand(&seed) % 3000;
			blocks[i] = realloc(blocks[i], sizes[i]);
		}
		memset(blocks[i], (int)(i * 7), sizes[i]);
	}
	for (i = 0; i < NR_BLOCKS; i++)
		free(blocks[i]);
	kaus_waitgroup_done(&wg);
}

TEST(malloc_and_free)
{
	DISTURB(allocate);
}

static void format(void *arg)
{
	unsigned int own = (unsigned int)(uintptr_t)arg;
	char text[128], expected[128];
	unsigned long n = 0;
	double d;

	while (!atomic_load(&stop)) {
		n++;
		d = (double)n / 8;
		snprintf(text, sizeof(text), "%u:%lu:%.3f:%s", own, n, d, "x");
		snprintf(expected, sizeof(expected), "%u:%lu:%lu.%03lu:x", own,
			 n, n / 8, n % 8 * 125);
		CHECK(!strcmp(expected, text));
		CHECK(strtod(strchr(strchr(text, ':') + 1, ':') + 1, NULL) ==
		      d);
	}
	kaus_waitgroup_done(&wg);
}

TEST(snprintf_and_strtod)
{
	DISTURB(format);
}

/* All write lines into one stdio stream; each line must be whole. */
#define LINE "G %u says line %u and then some more to fill it up"

static FILE *shared_file;
static atomic_uint nr_lines;

static void print(void *arg)
{
	unsigned int own = (unsigned int)(uintptr_t)arg, n = 0;

	while (!atomic_load(&stop) && n < 5000) {
		if (!CHECK(fprintf(shared_file, LINE "\n", own, n++) > 0))
			break;
		atomic_fetch_add(&nr_lines, 1);
	}
	while (!atomic_load(&stop))
		;
	kaus_waitgroup_done(&wg);
}

TEST(printf_to_a_shared_file)
{
	char line[256], expected[256];
	unsigned int own, n, seen = 0;

	shared_file = fdopen(memfd_create("lines", 0), "w+");
	ASSERT_NE(NULL, shared_file);
	DISTURB(print);
	rewind(shared_file);
	while (fgets(line, sizeof(line), shared_file)) {
		line[strcspn(line, "\n")] = '\0';
		own = n = 0;
		sscanf(line, LINE, &own, &n);
		snprintf(expected, sizeof(expected), LINE, own, n);
		EXPECT_STREQ(expected, line);
		seen++;
		if (strcmp(expected, line))
			break;
	}
	EXPECT_EQ(atomic_load(&nr_lines), seen);
	fclose(shared_file);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

#define NR_SORT 3000

static void sort(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 0x9e3779b97f4a7c15ULL;
	uint64_t *values = malloc(NR_SORT * sizeof(*values));
	uint64_t sum, sum_after;
	size_t i;

	while (!atomic_load(&stop)) {
		for (i = 0, sum = 0; i < NR_SORT; i++)
			sum += values[i] = ut_rand(&seed);
		qsort(values, NR_SORT, sizeof(*values), compare);
		for (i = 0, sum_after = 0; i < NR_SORT; i++) {
			sum_after += values[i];
			CHECK(!i || values[i - 1] <= values[i]);
		}
		CHECK(sum == sum_after);
	}
	free(values);
	kaus_waitgroup_done(&wg);
}

TEST(qsort_sorts)
{
	DISTURB(sort);
}

/*
 * A mutex held for long: its holder is preempted inside. The others sleep in
 * the kernel and their Ps must go to somebody, in the end to the holder.
 */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long guarded[8];

static void lock(void *arg)
{
	unsigned long before;
	unsigned int i;

	while (!atomic_load(&stop)) {
		pthread_mutex_lock(&mutex);
		before = guarded[0];
		for (i = 0; i < ARRAY_SIZE(guarded); i++) {
			CHECK(guarded[i] == before);
			guarded[i]++;
			ut_spin(20000);
		}
		for (i = 0; i < ARRAY_SIZE(guarded); i++)
			CHECK(guarded[i] == before + 1);
		pthread_mutex_unlock(&mutex);
	}
	kaus_waitgroup_done(&wg);
}

TEST(mutex_held_by_a_preempted_goroutine)
{
	DISTURB(lock);
}

TEST(mutex_on_one_proc)
{
	void (*fn)(void *) = lock;
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, disturb, &fn);
}

/* Error-checking mutexes know their owner's thread. */
static pthread_mutex_t checked;

static void lock_checked(void *arg)
{

	while (!atomic_load(&stop)) {
		CHECK_EQ(0, pthread_mutex_lock(&checked));
		guarded[0]++;
		ut_spin(5000);
		CHECK_EQ(0, pthread_mutex_unlock(&checked));
	}
	kaus_waitgroup_done(&wg);
}

TEST(mutex_that_knows_its_owner)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&checked, &attr);
	DISTURB(lock_checked);
}

static __thread unsigned long own_thread[4];

/* One call of ordinary C that keeps a thread-local address in a register. */
__attribute__((noinline)) static bool use_thread_local(unsigned long own)
{
	unsigned long *mine = own_thread;
	pthread_t self = pthread_self();
	bool ok = true;
	int i;

	for (i = 0; i < 4; i++)
		mine[i] = own + (unsigned long)i;
	ut_spin(200000);
	for (i = 0; i < 4; i++)
		ok &= mine[i] == own + (unsigned long)i;
	ok &= mine == own_thread;
	ok &= pthread_equal(self, pthread_self());
	for (i = 0; i < 4; i++)
		mine[i] = 0;
	return ok;
}

static void thread_local_hog(void *arg)
{
	while (!atomic_load(&stop))
		CHECK(use_thread_local((uintptr_t)arg * 10));
	kaus_waitgroup_done(&wg);
}

TEST(thread_local_holds_within_a_call)
{
	DISTURB(thread_local_hog);
}

/* The same with parks between the calls, so that Gs and threads mix. */
static void thread_local_nomad(void *arg)
{
	int i;

	for (i = 0; i < 100; i++) {
		CHECK(use_thread_local((uintptr_t)arg * 10));
		if (i % 3)
			kaus_yield();
		else
			kaus_sleep(100 * USEC);
	}
	kaus_waitgroup_done(&wg);
}

static int nomads(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 4;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(thread_local_nomad, (void *)(uintptr_t)(i + 1));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(thread_local_holds_between_parks)
{
	RUN(nomads, NULL);
}

TEST_HARNESS_MAIN
