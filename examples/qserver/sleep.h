/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Requests that sleep in the kernel: disk, downstream service, resolver. */
#ifndef QS_SLEEP_H
#define QS_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

#define SLEEP_NR_BLOCKS	4096U	/* of 4 KiB: 16 MiB */

/**
 * struct sleep_counts - What happened to system calls of these requests.
 * @nr_eintr: Calls that failed with EINTR.
 * @nr_short: Reads and writes that moved less than asked for.
 */
struct sleep_counts {
	uint64_t nr_eintr;
	uint64_t nr_short;
};

/**
 * sleep_prepare() - Make the files to be read and synced.
 * @dir: Where; a real disk makes the calls really sleep.
 *
 * Ends the program on failure.
 */
void sleep_prepare(const char *dir);

/* Remove them. */
void sleep_cleanup(void);

/* Is there a resolver to ask? Without /etc/hosts there may be none. */
bool sleep_can_resolve(void);

/* Open the files and start the downstream service; in each process anew. */
void sleep_open(struct sleep_counts *counts);

/* One request each; true if the result is the right one. */
bool sleep_read(uint32_t block);
bool sleep_fsync(void);
bool sleep_pipe(uint32_t token);
bool sleep_resolve(void);

#endif /* QS_SLEEP_H */
