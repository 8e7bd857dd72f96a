/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Values that belong to a goroutine, as thread-specific data to a thread. */
#ifndef KAUS_LOCAL_H
#define KAUS_LOCAL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAUS_LOCAL_MAX	64	/* keys in a process */

/**
 * kaus_local_create() - Make a key.
 * @dtor: Called with a goroutine's value, if that is not NULL, when the
 *	goroutine ends, on its stack; or NULL.
 * @ret_key: The key. There is no way to give it back.
 *
 * Context: any, before the runtime starts as well.
 * Return: 0, or -EAGAIN if there are KAUS_LOCAL_MAX keys already.
 */
int kaus_local_create(void (*dtor)(void *value), uint32_t *ret_key);

/**
 * kaus_local_set() - Set the calling goroutine's value.
 * @key: From kaus_local_create().
 * @value: The value.
 *
 * Context: G.
 * Return: 0, -EINVAL if there is no such key, -ENOMEM, -EPERM outside a
 * goroutine.
 */
int kaus_local_set(uint32_t key, void *value);

/**
 * kaus_local_get() - The calling goroutine's value.
 * @key: From kaus_local_create().
 *
 * Context: G.
 * Return: What was set last, NULL if nothing was, if there is no such key or
 * outside a goroutine.
 */
void *kaus_local_get(uint32_t key);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_LOCAL_H */
