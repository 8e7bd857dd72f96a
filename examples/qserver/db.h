/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The word list in SQLite: point lookups and table scans. */
#ifndef QS_DB_H
#define QS_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "hog.h"

#define DB_NR_PATTERNS	4

/**
 * db_create() - Load the word list into a new database file.
 * @words: File with one word a line.
 * @path: The database, replaced if it exists; kept by reference.
 *
 * Ends the program on failure.
 */
void db_create(const char *words, const char *path);

/* Number of words, which are numbered from 0. */
uint32_t db_nr_words(void);

/* Open connections. In each process anew: SQLite's do not survive a fork. */
void db_open(void);

/* Look a word up by its spelling; true if the row is the right one. */
bool db_lookup(uint32_t word);

/* Aggregate over rows; true unless SQLite failed. */
bool db_scan(const struct hog *hog, struct answer *ret_answer);

#endif /* QS_DB_H */
