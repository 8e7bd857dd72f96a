/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Channels. */
#ifndef KAUS_CHAN_H
#define KAUS_CHAN_H

#include <kaus/types.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Wherever a channel is given, NULL is one that is never ready: sending and
 * receiving wait for ever, or until the deadline, and select ignores it.
 */
struct kaus_chan;

/**
 * kaus_chan_make() - Make a channel.
 * @elem_size: Bytes of one element; 0 makes a channel of bare events.
 * @capacity: Elements it buffers; 0: sender and receiver meet.
 *
 * Context: any.
 * Return: The channel, or NULL if there is no memory for it, or more than there
 * can be is asked for.
 */
struct kaus_chan *kaus_chan_make(size_t elem_size, size_t capacity);

/**
 * kaus_chan_free() - Free a channel nobody uses any more.
 * @ch: The channel or NULL.
 *
 * Freeing a channel with waiting goroutines is a program error and aborts.
 */
void kaus_chan_free(struct kaus_chan *ch);

/**
 * kaus_chan_send() - Send one element.
 * @ch: The channel.
 * @elem: Element to copy; may be NULL only if the element size is 0.
 *
 * Context: G, which parks while the channel is full, or any other thread while
 * the runtime runs, which blocks.
 * Return: 0, -EPIPE if @ch is or becomes closed, -EINVAL if @elem is NULL and
 * must not be, -EPERM if the runtime is not running.
 */
int kaus_chan_send(struct kaus_chan *ch, const void *elem);

/**
 * kaus_chan_send_until() - The same with a deadline.
 * @ch: The channel.
 * @elem: Element to copy.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * An element that can be sent at once is sent even if the deadline has passed.
 *
 * Context: as kaus_chan_send().
 * Return: As kaus_chan_send(), or -ETIMEDOUT: nothing was sent.
 */
int kaus_chan_send_until(struct kaus_chan *ch, const void *elem,
			 uint64_t deadline_ns);

/**
 * kaus_chan_recv() - Receive one element.
 * @ch: The channel.
 * @ret_elem: Where to store it; NULL drops it.
 *
 * Context: as kaus_chan_send(), while the channel is empty.
 * Return: 0, -EPIPE if @ch is closed and drained, -EPERM if the runtime is not
 * running.
 */
int kaus_chan_recv(struct kaus_chan *ch, void *ret_elem);

/**
 * kaus_chan_recv_until() - The same with a deadline.
 * @ch: The channel.
 * @ret_elem: Where to store it; NULL drops it.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_chan_send().
 * Return: As kaus_chan_recv(), or -ETIMEDOUT.
 */
int kaus_chan_recv_until(struct kaus_chan *ch, void *ret_elem,
			 uint64_t deadline_ns);

/**
 * kaus_chan_try_send() - Send one element if that is possible at once.
 * @ch: The channel.
 * @elem: Element to copy.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: 0, -EAGAIN, -EPIPE, -EINVAL, -EPERM, as kaus_chan_send().
 */
int kaus_chan_try_send(struct kaus_chan *ch, const void *elem);

/**
 * kaus_chan_try_recv() - Receive one element if there is one.
 * @ch: The channel.
 * @ret_elem: Where to store it; NULL drops it.
 *
 * Context: as kaus_chan_try_send().
 * Return: 0, -EAGAIN, -EPIPE, -EPERM.
 */
int kaus_chan_try_recv(struct kaus_chan *ch, void *ret_elem);

/**
 * kaus_chan_close() - Close a channel: no more elements will be sent.
 * @ch: The channel.
 *
 * Waiting senders fail with -EPIPE, receivers get what is buffered and then
 * -EPIPE.
 *
 * Context: as kaus_chan_try_send().
 * Return: 0, -EPIPE if it was closed already, -EINVAL if it is NULL, -EPERM.
 */
int kaus_chan_close(struct kaus_chan *ch);

/**
 * kaus_chan_len() - Elements buffered at this moment.
 * @ch: The channel.
 *
 * Context: any.
 * Return: Their number; it may have changed when the caller looks at it.
 */
size_t kaus_chan_len(const struct kaus_chan *ch);

/**
 * kaus_chan_cap() - Elements that the channel buffers.
 * @ch: The channel.
 *
 * Context: any.
 * Return: The capacity given to kaus_chan_make().
 */
size_t kaus_chan_cap(const struct kaus_chan *ch);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_CHAN_H */
