/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What several of the other headers need. */
#ifndef KAUS_TYPES_H
#define KAUS_TYPES_H

#include <stdint.h>

/* A deadline that never comes. */
#define KAUS_NO_DEADLINE UINT64_MAX

struct kr_waiter;

/**
 * struct kaus_waitlist - Who waits, oldest first; zeroed is empty.
 * @first: Internal.
 * @last: Internal.
 */
struct kaus_waitlist {
	struct kr_waiter *first, *last;
};

#endif /* KAUS_TYPES_H */
