/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What a goroutine is doing, in text. */
#ifndef KR_SCHED_TRACEBACK_H
#define KR_SCHED_TRACEBACK_H

#include <stdbool.h>

struct g;

/**
 * kr_traceback_parked() - Describe a goroutine that nobody can wake.
 * @fd: Where to write.
 * @gp: The goroutine: it has parked, and stays so.
 *
 * Context: any stack but @gp's.
 */
void kr_traceback_parked(int fd, struct g *gp);

/* Be prepared to tell when a goroutine overflows its stack. */
void kr_traceback_init(void);

#endif /* KR_SCHED_TRACEBACK_H */
