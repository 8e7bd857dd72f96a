/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Values of goroutines. The table comes from malloc() with the first value:
 * most goroutines have none, and here preemption is on, as in any other code
 * of the program.
 */
#include <kaus/local.h>
#include <stdlib.h>

#include "sched/sched.h"

/* A destructor may set values; so often they are looked at again (POSIX: 4). */
#define DTOR_ROUNDS	4

static struct {
	uint32_t nr;
	void (*dtor[KAUS_LOCAL_MAX])(void *value);
} keys;

KR_API int kaus_local_create(void (*dtor)(void *value), uint32_t *ret_key)
{
	uint32_t key;

	do {
		key = READ_ONCE(keys.nr);
		if (key == KAUS_LOCAL_MAX)
			return -EAGAIN;
	} while (!kr_cas(&keys.nr, key, key + 1));
	/* Whoever sets a value has the key from the caller. */
	WRITE_ONCE(keys.dtor[key], dtor);
	*ret_key = key;
	return 0;
}

KR_API int kaus_local_set(uint32_t key, void *value)
{
	struct m *mp = kr_self();
	struct g *gp;

	if (!mp || !mp->curg)
		return -EPERM;
	if (key >= READ_ONCE(keys.nr))
		return -EINVAL;
	gp = mp->curg;
	if (!gp->locals) {
		gp->locals = calloc(KAUS_LOCAL_MAX, sizeof(*gp->locals));
		if (!gp->locals)
			return -ENOMEM;
	}
	gp->locals[key] = value;
	return 0;
}

KR_API void *kaus_local_get(uint32_t key)
{
	struct m *mp = kr_self();

	if (!mp || !mp->curg || !mp->curg->locals || key >= KAUS_LOCAL_MAX)
		return NULL;
	return mp->curg->locals[key];
}

void kr_locals_end(struct g *gp)
{
	bool again = true;

	for (int round = 0; again && round < DTOR_ROUNDS; round++) {
		uint32_t nr = READ_ONCE(keys.nr);

		again = false;
		for (uint32_t key = 0; key < nr; key++) {
			void (*dtor)(void *value) = READ_ONCE(keys.dtor[key]);
			void *value = gp->locals[key];

			gp->locals[key] = NULL;
			if (!value || !dtor)
				continue;
			dtor(value);
			again = true;
		}
	}
	free(gp->locals);
	gp->locals = NULL;
}
