/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A downstream service: another process that answers calls over pipes after
 * two to five milliseconds. Each call in flight has a reply pipe of its own.
 */
#ifndef QS_SERVICE_H
#define QS_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct service_call - What is written to the service, in one piece.
 * @slot: Which reply pipe.
 * @token: What is asked.
 * @delay_ns: How long the service shall take.
 */
struct service_call {
	uint32_t slot;
	uint32_t token;
	uint64_t delay_ns;
};

/* Start it; ends the program on failure. It ends with its parent. */
void service_start(void);

/* Take a free slot and fill in @call; false if all are taken. */
bool service_begin(struct service_call *call, uint32_t token);

/* Give the slot back after its reply has been read. */
void service_end(const struct service_call *call);

/* Where to write calls, and where to read the reply of one. */
int service_fd(void);
int service_reply_fd(const struct service_call *call);

/* The right reply. */
static inline uint32_t service_answer(uint32_t token)
{
	return token * 2654435761U + 1;
}

#endif /* QS_SERVICE_H */
