/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The word list in SQLite.
 *
 * SQLite is the distribution's, used as its manual says for many threads: a
 * connection serves one request at a time (SQLITE_OPEN_NOMUTEX), and the
 * statistics that would take a process-wide lock at each malloc() are off.
 * The file is immutable once made, so that no request waits for another's
 * file lock.
 *
 * Connections are in a LIFO pool, a stack of indices whose head carries a
 * count against ABA. It needs no lock, hence nobody waits for a thread that
 * was descheduled or preempted while it held one. An empty pool grows.
 */
#include "db.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define MAX_CONNS	4096
#define FIRST_CONNS	32
#define NO_CONN		0xffffffffU

struct conn {
	sqlite3 *db;
	sqlite3_stmt *lookup;
	sqlite3_stmt *scan;
	uint32_t next;
};

struct word {
	const char *text;
	int length;
};

static const char *const patterns[DB_NR_PATTERNS] = {
	"*[aeiou]*[^aeiou]*[aeiou]*ing*s",
	"*[a-m]*[n-z]*[a-m]*tion*e*",
	"*s*[^a-z]*s",
	"*e*[rst]*e*[rst]*ed",
};

static const char *db_path;
static struct word *words;
static uint32_t nr_words;

static struct conn conns[MAX_CONNS];
static uint32_t nr_conns;	/* RMW */
static uint64_t pool;		/* RMW: count << 32 | index of the first */

static void load_words(const char *path)
{
	const char *text, *end, *nl;
	struct stat st;
	uint32_t max;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		die("cannot open the word list %s (package wamerican): %m",
		    path);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		die("cannot map %s: %m", path);
	close(fd);
	end = text + st.st_size;
	max = (uint32_t)(st.st_size / 2 + 1);
	words = calloc(max, sizeof(*words));
	if (!words)
		die("no memory for the word list");
	for (; text < end && nr_words < max; text = nl + 1) {
		nl = memchr(text, '\n', (size_t)(end - text));
		if (!nl)
			nl = end;
		if (nl == text)
			continue;
		words[nr_words].text = text;
		words[nr_words++].length = (int)(nl - text);
	}
	if (nr_words < 1000)
		die("%s has only %u words", path, nr_words);
}

static void must(sqlite3 *db, int rc, const char *what)
{
	if (rc != SQLITE_OK && rc != SQLITE_DONE)
		die("SQLite, %s: %s", what, db ? sqlite3_errmsg(db) :
		    sqlite3_errstr(rc));
}

static void insert_words(sqlite3 *db)
{
	sqlite3_stmt *st;
	uint32_t i;

	must(db, sqlite3_prepare_v2(db, "INSERT INTO word VALUES(?1, ?2, ?3)",
				    -1, &st, NULL), "prepare");
	for (i = 0; i < nr_words; i++) {
		sqlite3_bind_int64(st, 1, i);
		sqlite3_bind_text(st, 2, words[i].text, words[i].length,
				  SQLITE_STATIC);
		sqlite3_bind_int(st, 3, words[i].length);
		must(db, sqlite3_step(st), "insert");
		sqlite3_reset(st);
	}
	sqlite3_finalize(st);
}

void db_create(const char *list, const char *path)
{
	sqlite3 *db;

	load_words(list);
	db_path = path;
	unlink(path);
	/* Must precede the first connection; children inherit it. */
	must(NULL, sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0), "configure");
	must(NULL, sqlite3_config(SQLITE_CONFIG_MULTITHREAD), "configure");
	must(NULL, sqlite3_open(path, &db), path);
	must(db, sqlite3_exec(db,
			      "PRAGMA journal_mode = OFF;"
			      "PRAGMA synchronous = OFF;"
			      "CREATE TABLE word(id INTEGER PRIMARY KEY,"
			      " text TEXT NOT NULL, length INTEGER NOT NULL);"
			      "BEGIN", NULL, NULL, NULL), "create");
	insert_words(db);
	must(db, sqlite3_exec(db,
			      "COMMIT; CREATE UNIQUE INDEX by_text ON"
			      " word(text)", NULL, NULL, NULL), "index");
	must(db, sqlite3_close(db), "close");
}

uint32_t db_nr_words(void)
{
	return nr_words;
}

static bool conn_open(struct conn *c)
{
	const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX |
			  SQLITE_OPEN_URI;
	char uri[4200];

	snprintf(uri, sizeof(uri), "file:%s?immutable=1", db_path);
	if (sqlite3_open_v2(uri, &c->db, flags, NULL) ||
	    sqlite3_exec(c->db, "PRAGMA mmap_size = 268435456", NULL, NULL,
			 NULL) ||
	    sqlite3_prepare_v2(c->db,
			       "SELECT id, length FROM word WHERE text = ?1",
			       -1, &c->lookup, NULL) ||
	    sqlite3_prepare_v2(c->db,
			       "SELECT count(*), total(id) FROM word"
			       " WHERE id >= ?1 AND id < ?2 AND (text GLOB ?3"
			       " OR replace(replace(text, 'ie', 'y'), 'e', 'i')"
			       " GLOB ?3)",
			       -1, &c->scan, NULL)) {
		warn("cannot open %s: %s", uri, sqlite3_errmsg(c->db));
		return false;
	}
	return true;
}

static void conn_put(struct conn *c)
{
	uint64_t head = __atomic_load_n(&pool, __ATOMIC_RELAXED);
	uint64_t new_head;

	do {
		c->next = (uint32_t)head;
		new_head = ((head >> 32) + 1) << 32 | (uint64_t)(c - conns);
	} while (!__atomic_compare_exchange_n(&pool, &head, new_head, 1,
					      __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

static struct conn *conn_new(void)
{
	uint32_t i = __atomic_fetch_add(&nr_conns, 1, __ATOMIC_RELAXED);

	if (i >= MAX_CONNS || !conn_open(&conns[i]))
		return NULL;
	return &conns[i];
}

static struct conn *conn_get(void)
{
	uint64_t head = __atomic_load_n(&pool, __ATOMIC_ACQUIRE);
	uint64_t new_head;
	struct conn *c;

	do {
		if ((uint32_t)head == NO_CONN)
			return conn_new();
		c = &conns[(uint32_t)head];
		new_head = ((head >> 32) + 1) << 32 |
			   __atomic_load_n(&c->next, __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(&pool, &head, new_head, 1,
					      __ATOMIC_ACQUIRE,
					      __ATOMIC_ACQUIRE));
	return c;
}

void db_open(void)
{
	unsigned int i;

	pool = NO_CONN;
	for (i = 0; i < FIRST_CONNS; i++) {
		struct conn *c = conn_new();

		if (!c)
			die("cannot open %s", db_path);
		conn_put(c);
		/* Reads the schema, which is no part of a lookup. */
		if (!db_lookup(i))
			die("%s does not answer as it should", db_path);
	}
}

bool db_lookup(uint32_t word)
{
	struct conn *c = conn_get();
	bool ok = false;

	if (!c)
		return false;
	sqlite3_bind_text(c->lookup, 1, words[word].text, words[word].length,
			  SQLITE_STATIC);
	if (sqlite3_step(c->lookup) == SQLITE_ROW)
		ok = sqlite3_column_int64(c->lookup, 0) == word &&
		     sqlite3_column_int(c->lookup, 1) == words[word].length &&
		     sqlite3_step(c->lookup) == SQLITE_DONE;
	sqlite3_reset(c->lookup);
	conn_put(c);
	return ok;
}

bool db_scan(const struct hog *hog, struct answer *ret_answer)
{
	struct conn *c = conn_get();
	bool ok;

	if (!c)
		return false;
	sqlite3_bind_int64(c->scan, 1, (sqlite3_int64)hog->start);
	sqlite3_bind_int64(c->scan, 2,
			   (sqlite3_int64)(hog->start + hog->length));
	sqlite3_bind_text(c->scan, 3, patterns[hog->pattern], -1,
			  SQLITE_STATIC);
	ok = sqlite3_step(c->scan) == SQLITE_ROW;
	if (ok) {
		ret_answer->count =
			(uint64_t)sqlite3_column_int64(c->scan, 0);
		ret_answer->sum =
			(uint64_t)sqlite3_column_double(c->scan, 1);
	}
	sqlite3_reset(c->scan);
	conn_put(c);
	return ok;
}
