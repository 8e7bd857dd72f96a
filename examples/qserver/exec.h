/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The ways of running requests. */
#ifndef QS_EXEC_H
#define QS_EXEC_H

#include "load.h"
#include "result.h"

/**
 * struct executor - A way of running requests.
 * @run: Generate the load and serve it until all is answered; 0, or not 0
 *	with a message printed if it could not be started.
 * @dump: Say on stderr what hangs; may be NULL.
 */
struct executor {
	int (*run)(struct load *load, struct result *res);
	void (*dump)(void);
};

extern const struct executor exec_kaus;
extern const struct executor exec_threads;

#endif /* QS_EXEC_H */
