/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A thread that looks at the run from outside, a thousand times a second. */
#ifndef QS_SAMPLER_H
#define QS_SAMPLER_H

#include "exec.h"
#include "load.h"
#include "result.h"

/**
 * sampler_start() - Start the thread; before the run.
 * @load: What it watches.
 * @res: Where it leaves what it saw.
 * @exec: Asked for a dump if the run hangs, which ends the process.
 * @nr_cpus: CPUs there are.
 */
void sampler_start(struct load *load, struct result *res,
		   const struct executor *exec, unsigned int nr_cpus);

/* Wait for it to end; after the run. */
void sampler_stop(void);

#endif /* QS_SAMPLER_H */
