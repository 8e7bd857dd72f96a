// SPDX-License-Identifier: GPL-2.0-only
/*
 * A million redirects of code that knows nothing of them.
 *
 * Goroutines use malloc(), printf(), SQLite and PCRE2 as they are, on a slice
 * as short as the module allows, until the trampoline has been entered
 * KAUS_REDIRECTS times (a million). Each unit of work yields a digest, which
 * must equal the one of the same work done before the runtime started. Others
 * read, write and sleep: not one call may fail with EINTR or come back short.
 * A register that is not restored, a lock taken on the wrong thread or a lost
 * wake-up shows as a wrong digest, a crash or a hang.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <kaus.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* The harness leaves parameters unused and prototypes out. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "kselftest_harness.h"
#pragma GCC diagnostic pop

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 7200

#define NR_SEEDS	4
#define NR_WORKERS	3	/* goroutines for each kind of work */

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3ULL;
	return hash;
}

static uint64_t work_malloc(unsigned int seed)
{
	uint64_t hash = seed;
	void *block[64];
	size_t size[64];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 64; i++) {
			seed = seed * 1103515245 + 12345;
			size[i] = 1 + (seed >> 16) % 3000;
			block[i] = malloc(size[i]);
			memset(block[i], i + round, size[i]);
		}
		for (int i = 63; i >= 0; i--) {
			hash = mix(hash, block[i], size[i]);
			free(block[i]);
		}
	}
	return hash;
}

static uint64_t work_printf(unsigned int seed)
{
	uint64_t hash = seed;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	for (int i = 0; i < 400; i++) {
		double x = seed / (i + 0.7);

		fprintf(f, "%d %s %.12g %Lf %x\n", i, "word", x,
			(long double)x * 1.5L, seed ^ (unsigned int)i);
	}
	fclose(f);
	hash = mix(hash, text, len);
	free(text);
	return hash;
}

static int sql_row(void *arg, int nr, char **value, char **name)
{
	uint64_t *hash = arg;

	(void)name;
	for (int i = 0; i < nr; i++)
		*hash = mix(*hash, value[i] ? value[i] : "-",
			    value[i] ? strlen(value[i]) : 1);
	return 0;
}

static uint64_t work_sqlite(unsigned int seed)
{
	uint64_t hash = seed;
	char sql[256];
	sqlite3 *db;

	if (sqlite3_open(":memory:", &db))
		return 0;
	snprintf(sql, sizeof(sql),
		 "create table t(k integer primary key, v text, r real);"
		 "with recursive n(i) as (select 1 union all select i + 1 "
		 "from n where i < 300) insert into t select i, "
		 "hex(i * %u %% 100003), i / 7.0 from n;", seed % 9973 + 2);
	if (sqlite3_exec(db, sql, sql_row, &hash, NULL))
		hash = 0;
	if (hash && sqlite3_exec(db, "select v, count(*), sum(r) from t where "
				 "v like '%3%' group by v order by v desc;"
				 "select avg(r) from t;", sql_row, &hash, NULL))
		hash = 0;
	sqlite3_close(db);
	return hash;
}

static uint64_t work_pcre2(unsigned int seed)
{
	static const char pattern[] =
		"(?i)\\b(\\w+)\\s+(?:\\w+\\s+){0,4}\\1\\b|(\\d+)(?=\\D+7)";
	uint64_t hash = seed;
	PCRE2_SIZE off, at = 0;
	pcre2_match_data *md;
	char text[2000];
	pcre2_code *re;
	size_t len = 0;
	int err;

	for (int i = 0; len < sizeof(text) - 32; i++) {
		seed = seed * 1103515245 + 12345;
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"w%u x%u %u ", (seed >> 16) % 50,
					(seed >> 20) % 30, (seed >> 9) % 100);
	}
	re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &err,
			   &off, NULL);
	/* Every second run uses the machine code compiler. */
	if (re && (seed & 1))
		pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
	md = re ? pcre2_match_data_create_from_pattern(re, NULL) : NULL;
	while (md && pcre2_match(re, (PCRE2_SPTR)text, len, at, 0, md, NULL) > 0) {
		PCRE2_SIZE *ov = pcre2_get_ovector_pointer(md);

		hash = mix(hash, ov, 2 * sizeof(*ov));
		at = ov[1] > at ? ov[1] : at + 1;
	}
	pcre2_match_data_free(md);
	pcre2_code_free(re);
	return hash;
}

static uint64_t (*const works[])(unsigned int seed) = {
	work_malloc, work_printf, work_sqlite, work_pcre2,
};

#define NR_WORKS (sizeof(works) / sizeof(works[0]))

static uint64_t expected[NR_WORKS][NR_SEEDS];
static atomic_ulong nr_done, nr_wrong, nr_eintr, nr_short, nr_calls;
static atomic_bool stop;
static struct kaus_waitgroup wg;

static void compute(void *arg)
{
	size_t kind = (size_t)arg % NR_WORKS;

	for (unsigned int i = 0; !stop; i++) {
		unsigned int seed = i % NR_SEEDS;

		if (works[kind](seed + 1) != expected[kind][seed])
			nr_wrong++;
		nr_done++;
	}
	kaus_waitgroup_done(&wg);
}

static void note(ssize_t got, ssize_t want)
{
	nr_calls++;
	if (got < 0 && errno == EINTR)
		nr_eintr++;
	else if (got != want)
		nr_short++;
}

/* One end of a socket pair answers, the other asks; both also sleep. */
static void ask(void *arg)
{
	int fd = (int)(long)arg;
	char buf[512];

	while (!stop) {
		struct timespec ts = { .tv_nsec = 50000 };

		note(write(fd, buf, sizeof(buf)), sizeof(buf));
		note(recv(fd, buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
		note(nanosleep(&ts, NULL), 0);
	}
	close(fd);
	kaus_waitgroup_done(&wg);
}

static void answer(void *arg)
{
	int fd = (int)(long)arg;
	char buf[512];
	ssize_t len;

	for (;;) {
		len = recv(fd, buf, sizeof(buf), MSG_WAITALL);
		if (!len)
			break;
		note(len, sizeof(buf));
		note(write(fd, buf, sizeof(buf)), sizeof(buf));
	}
	close(fd);
	kaus_waitgroup_done(&wg);
}

static uint64_t nr_wanted = 1000000;
static struct kaus_stats stats = { .size = sizeof(stats) };

static int million(void *arg)
{
	int fds[2];

	(void)arg;
	for (size_t i = 0; i < NR_WORKS * NR_WORKERS; i++) {
		kaus_waitgroup_add(&wg, 1);
		if (kaus_go(compute, (void *)i))
			return 1;
	}
	for (int i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
			return 1;
		kaus_waitgroup_add(&wg, 2);
		if (kaus_go(ask, (void *)(long)fds[0]) ||
		    kaus_go(answer, (void *)(long)fds[1]))
			return 1;
	}
	do {
		kaus_sleep(20000000);
		kaus_stats_read(&stats);
	} while (stats.nr_redirects < nr_wanted && !nr_wrong);
	stop = true;
	return kaus_waitgroup_wait(&wg);
}

TEST(million_redirects)
{
	struct kaus_options opts = {
		.size = sizeof(opts),
		.slice_ns = 20000,
	};
	const char *env = getenv("KAUS_REDIRECTS");

	if (env)
		nr_wanted = strtoull(env, NULL, 10);
	/* A signal takes longer and hits sleepers: EINTR is its nature. */
	if (access("/dev/kaus", F_OK))
		nr_wanted /= 50;
	for (size_t kind = 0; kind < NR_WORKS; kind++) {
		for (unsigned int seed = 0; seed < NR_SEEDS; seed++) {
			expected[kind][seed] = works[kind](seed + 1);
			ASSERT_NE(0U, expected[kind][seed]);
		}
	}
	ASSERT_EQ(0, kaus_run_with(&opts, million, NULL));
	printf("# %s: %lu redirects, %lu preemptions, %lu hand-offs, %lu units "
	       "of work, %lu calls, EINTR %lu, short %lu\n", stats.assist,
	       (unsigned long)stats.nr_redirects,
	       (unsigned long)stats.nr_preempts,
	       (unsigned long)stats.nr_handoffs, nr_done, nr_calls, nr_eintr,
	       nr_short);
	EXPECT_LE(nr_wanted, stats.nr_redirects);
	EXPECT_EQ(0U, nr_wrong);
	EXPECT_LT(NR_WORKS, nr_done);
	EXPECT_LT(0U, nr_calls);
	EXPECT_EQ(0U, nr_short);
	if (!strcmp(stats.assist, "module"))
		EXPECT_EQ(0U, nr_eintr);
}

TEST_HARNESS_MAIN
