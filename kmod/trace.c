// SPDX-License-Identifier: GPL-2.0-only
/*
 * The code behind the tracepoints of trace.h.
 */
#include <linux/module.h>

/* checkers would read the header once more for each event */
#ifndef __CHECKER__
#define CREATE_TRACE_POINTS
#include "trace.h"
#endif
