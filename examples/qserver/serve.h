/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Serving one request: do it, check the answer, record how long it took. */
#ifndef QS_SERVE_H
#define QS_SERVE_H

#include "load.h"
#include "plan.h"
#include "result.h"

/* Set where things are; before the first request. */
void serve_init(const struct plan *plan, struct load *load,
		struct result *res);

/* Serve; on any thread or goroutine. */
void serve(struct request *rq);

/* Record a request for which no thread or goroutine could be started. */
void serve_refused(const struct request *rq);

#endif /* QS_SERVE_H */
