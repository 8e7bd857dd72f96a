/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Descriptors and sockets on which goroutines wait without occupying a thread.
 *
 * A descriptor is named by a kaus_fd_t, not by the int of the kernel: that one
 * means another file as soon as it is closed and somebody opens something,
 * which with many goroutines is always. A kaus_fd_t that has been closed means
 * nothing ever after, and a call that uses one while another goroutine closes
 * it ends with -ECANCELED. Like the int it is a number, negative for an error.
 *
 * Calls do what the system call of that name does on a blocking descriptor:
 * they wait until something can be done and return how much was, or -errno.
 * They never fail with -EAGAIN or -EINTR for a descriptor that can be polled,
 * and sockets never raise SIGPIPE.
 *
 * Context of all that wait: G, which parks, or any other thread while the
 * runtime runs, which blocks. Without a runtime they fail with -EPERM when they
 * would have to wait.
 *
 * Beside what is said below each fails with
 *	-EBADF		the descriptor is none or has been closed
 *	-ECANCELED	it was closed meanwhile
 *	-ETIMEDOUT	the deadline of the descriptor came
 *	or as the system call does.
 */
#ifndef KAUS_NET_H
#define KAUS_NET_H

#include <kaus/types.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t kaus_fd_t;

/* Directions, for deadlines and kaus_fd_wait(). */
#define KAUS_FD_READ	1	/* accept and receive, too */
#define KAUS_FD_WRITE	2	/* connect and send, too */

/**
 * kaus_fd_open() - Take over a file descriptor.
 * @fd: One of the kernel's; it is kaus_fd_close()'s to close from now on.
 *
 * It becomes non-blocking (O_NONBLOCK), which is seen by everybody who shares
 * it, other processes included. What cannot be polled, a regular file or a
 * directory, is left as it is: calls on it sleep in the kernel, and the P goes
 * to another goroutine meanwhile; see also kaus_fd_pread(). Use each @fd once.
 *
 * Context: any thread while the runtime runs.
 * Return: The descriptor, -EBADF, -ENOMEM, -EEXIST if it has been taken over
 * already, -EPERM if the runtime is not running, -EAGAIN if no thread could be
 * started.
 */
kaus_fd_t kaus_fd_open(int fd);

/**
 * kaus_fd_close() - Close a descriptor.
 * @fd: The descriptor; not valid any more.
 *
 * Who waits on it is woken with -ECANCELED. The kernel's descriptor is closed
 * when the last call that uses it has returned.
 *
 * Context: any thread. Never parks.
 * Return: 0 or -EBADF.
 */
int kaus_fd_close(kaus_fd_t fd);

/**
 * kaus_fd_num() - The kernel's number of a descriptor.
 * @fd: The descriptor.
 *
 * For setsockopt(), getsockname() and the like. Do not close it.
 *
 * Context: any.
 * Return: The number or -EBADF.
 */
int kaus_fd_num(kaus_fd_t fd);

/**
 * kaus_fd_set_deadline() - Until when calls on a descriptor may wait.
 * @fd: The descriptor.
 * @dirs: KAUS_FD_READ, KAUS_FD_WRITE or both.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * It is true of all calls in that direction, those that wait at this moment
 * included: a deadline of 0 ends them. What can be done without waiting is done
 * even when the deadline has passed.
 *
 * Context: any thread. Never parks.
 * Return: 0, -EBADF, -EINVAL for other @dirs.
 */
int kaus_fd_set_deadline(kaus_fd_t fd, int dirs, uint64_t deadline_ns);

/**
 * kaus_fd_wait() - Wait until a descriptor is readable or writable.
 * @fd: The descriptor.
 * @dir: KAUS_FD_READ or KAUS_FD_WRITE.
 *
 * For libraries that do their own reading and writing. At the end of the file
 * and after an error a descriptor is both.
 *
 * Return: 0, -EINVAL for another @dir, or an error.
 */
int kaus_fd_wait(kaus_fd_t fd, int dir);

/**
 * kaus_fd_read() - Read what there is.
 * @fd: The descriptor.
 * @buf: Where to.
 * @len: Bytes at most.
 *
 * Return: Bytes read, 0 at the end of the file, or an error.
 */
ssize_t kaus_fd_read(kaus_fd_t fd, void *buf, size_t len);

/**
 * kaus_fd_readv() - Read into several buffers.
 * @fd: The descriptor.
 * @iov: The buffers.
 * @nr_iov: Their number.
 *
 * Return: As kaus_fd_read().
 */
ssize_t kaus_fd_readv(kaus_fd_t fd, const struct iovec *iov, int nr_iov);

/**
 * kaus_fd_read_full() - Read exactly so much.
 * @fd: The descriptor.
 * @buf: Where to.
 * @len: Bytes.
 *
 * Return: @len; less at the end of the file; an error if nothing was read
 * before it. An error after some bytes is what the next call says.
 */
ssize_t kaus_fd_read_full(kaus_fd_t fd, void *buf, size_t len);

/**
 * kaus_fd_write() - Write some.
 * @fd: The descriptor.
 * @buf: What.
 * @len: Bytes at most.
 *
 * Return: Bytes written, or an error.
 */
ssize_t kaus_fd_write(kaus_fd_t fd, const void *buf, size_t len);

/**
 * kaus_fd_writev() - Write some from several buffers.
 * @fd: The descriptor.
 * @iov: The buffers.
 * @nr_iov: Their number.
 *
 * Return: As kaus_fd_write().
 */
ssize_t kaus_fd_writev(kaus_fd_t fd, const struct iovec *iov, int nr_iov);

/**
 * kaus_fd_write_all() - Write all.
 * @fd: The descriptor.
 * @buf: What.
 * @len: Bytes.
 * @ret_done: How many were written, on failure too; may be NULL.
 *
 * Two goroutines that write_all to one descriptor may mix their bytes.
 *
 * Return: 0 or an error.
 */
int kaus_fd_write_all(kaus_fd_t fd, const void *buf, size_t len,
		      size_t *ret_done);

/**
 * kaus_fd_sendfile() - Send from a file.
 * @fd: Where to; a socket or a pipe.
 * @file: A kernel's descriptor of a regular file.
 * @offset: Where to begin; advanced. NULL: the file's own position.
 * @len: Bytes at most.
 *
 * Unlike the others it may raise SIGPIPE.
 *
 * Return: Bytes sent, 0 at the end of the file, or an error.
 */
ssize_t kaus_fd_sendfile(kaus_fd_t fd, int file, int64_t *offset, size_t len);

/**
 * kaus_fd_pread() - Read at an offset of a file.
 * @fd: The descriptor.
 * @buf: Where to.
 * @len: Bytes.
 * @offset: Where in the file, bytes.
 *
 * What is in the page cache is read at once. Else the goroutine parks, and no
 * thread sleeps, where the process may use io_uring; where it may not, and for
 * threads, the call sleeps in the kernel. Deadlines of the descriptor do not
 * end it, nor does kaus_fd_close(): the kernel cannot stop what a device does.
 *
 * Return: Bytes read, less than @len only at the end of the file or before an
 * error, 0 at the end; -EINVAL for a negative @offset, -ESPIPE if @fd has no
 * offsets, or an error.
 */
ssize_t kaus_fd_pread(kaus_fd_t fd, void *buf, size_t len, int64_t offset);

/**
 * kaus_fd_pwrite() - Write at an offset of a file.
 * @fd: The descriptor.
 * @buf: What.
 * @len: Bytes.
 * @offset: Where in the file, bytes.
 *
 * Return: Bytes written, less than @len only before an error; else as
 * kaus_fd_pread().
 */
ssize_t kaus_fd_pwrite(kaus_fd_t fd, const void *buf, size_t len,
		       int64_t offset);

/**
 * kaus_fd_sync() - Wait until what has been written is on the device.
 * @fd: The descriptor.
 *
 * Context: as kaus_fd_pread().
 * Return: 0, -EINVAL for what has no device, or an error.
 */
int kaus_fd_sync(kaus_fd_t fd);

/**
 * kaus_fd_pipe() - Make a pipe.
 * @ret_fds: The end to read from, the end to write to.
 *
 * Context: any thread while the runtime runs.
 * Return: 0, or as pipe2() and kaus_fd_open().
 */
int kaus_fd_pipe(kaus_fd_t ret_fds[2]);

/**
 * kaus_net_listen() - Wait for connections, or for datagrams, at an address.
 * @net: "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix" or "unixgram".
 * @addr: "HOST:PORT", with an IPv6 address in brackets; without HOST it is any
 *	of this machine's, without PORT (or 0) a free one. For "unix": a path,
 *	or with @ in front a name in the abstract name space.
 *
 * TCP sockets have SO_REUSEADDR, and connections TCP_NODELAY. Names other than
 * numeric ones are looked up by getaddrinfo(), which sleeps in the kernel and
 * knows no deadline.
 *
 * Return: The socket, -EINVAL for a @net or @addr that is not understood,
 * -EADDRNOTAVAIL for a name that is not known, -EHOSTUNREACH if it could not be
 * found out, or as socket(), bind(), listen() and kaus_fd_open().
 */
kaus_fd_t kaus_net_listen(const char *net, const char *addr);

/**
 * kaus_net_accept() - Take the next connection.
 * @fd: A socket that listens.
 * @addr: Where to store the peer's address, or NULL.
 * @addr_len: In: size of @addr; out: of the address. Or NULL.
 *
 * Return: The connection, or an error as accept4() and kaus_fd_open().
 */
kaus_fd_t kaus_net_accept(kaus_fd_t fd, struct sockaddr *addr,
			  socklen_t *addr_len);

/**
 * kaus_net_dial() - Connect to an address.
 * @net: As for kaus_net_listen().
 * @addr: The same; without HOST it is this machine.
 *
 * If a name has several addresses they are tried one by one.
 *
 * Return: The connection, or an error as kaus_net_listen() and connect().
 */
kaus_fd_t kaus_net_dial(const char *net, const char *addr);

/**
 * kaus_net_dial_until() - The same with a deadline.
 * @net: As for kaus_net_listen().
 * @addr: The address.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE. For
 *	looking up the name and connecting, not for what comes after it.
 *
 * The lookup itself cannot be stopped: when the deadline has passed a goroutine
 * goes on with it, and throws the result away.
 *
 * Return: As kaus_net_dial(), or -ETIMEDOUT.
 */
kaus_fd_t kaus_net_dial_until(const char *net, const char *addr,
			      uint64_t deadline_ns);

/**
 * kaus_net_socket() - A socket of any kind.
 * @domain: As socket().
 * @type: The same.
 * @protocol: The same.
 *
 * Context: any thread while the runtime runs.
 * Return: The socket, or an error as socket() and kaus_fd_open().
 */
kaus_fd_t kaus_net_socket(int domain, int type, int protocol);

/**
 * kaus_net_connect() - Connect a socket.
 * @fd: The socket.
 * @addr: Where to.
 * @addr_len: Size of @addr.
 *
 * A Unix socket whose peer has too many connections waiting says -EAGAIN.
 *
 * Return: 0 or an error as connect(). After -ETIMEDOUT of the descriptor's
 * deadline it goes on in the background.
 */
int kaus_net_connect(kaus_fd_t fd, const struct sockaddr *addr,
		     socklen_t addr_len);

/**
 * kaus_net_shutdown() - End one direction of a connection, or both.
 * @fd: The connection.
 * @how: SHUT_RD, SHUT_WR or SHUT_RDWR.
 *
 * Context: any thread. Never parks.
 * Return: 0 or an error as shutdown().
 */
int kaus_net_shutdown(kaus_fd_t fd, int how);

/**
 * kaus_net_recvfrom() - Receive, with the sender's address.
 * @fd: The socket.
 * @buf: Where to.
 * @len: Bytes at most.
 * @flags: As recvfrom().
 * @addr: Where to store the address, or NULL.
 * @addr_len: In: size of @addr; out: of the address. Or NULL.
 *
 * With MSG_DONTWAIT it does not wait, and fails with -EAGAIN.
 *
 * Return: Bytes received, or an error.
 */
ssize_t kaus_net_recvfrom(kaus_fd_t fd, void *buf, size_t len, int flags,
			  struct sockaddr *addr, socklen_t *addr_len);

/**
 * kaus_net_sendto() - Send to an address.
 * @fd: The socket.
 * @buf: What.
 * @len: Bytes.
 * @flags: As sendto(); MSG_DONTWAIT as for kaus_net_recvfrom().
 * @addr: Where to, or NULL on a connection.
 * @addr_len: Size of @addr.
 *
 * Return: Bytes sent, or an error.
 */
ssize_t kaus_net_sendto(kaus_fd_t fd, const void *buf, size_t len, int flags,
			const struct sockaddr *addr, socklen_t addr_len);

/**
 * kaus_net_recvmsg() - Receive a message with all that belongs to it.
 * @fd: The socket.
 * @msg: As recvmsg().
 * @flags: As recvmsg(); MSG_DONTWAIT as for kaus_net_recvfrom().
 *
 * Return: Bytes received, or an error.
 */
ssize_t kaus_net_recvmsg(kaus_fd_t fd, struct msghdr *msg, int flags);

/**
 * kaus_net_sendmsg() - Send a message with all that belongs to it.
 * @fd: The socket.
 * @msg: As sendmsg().
 * @flags: As sendmsg(); MSG_DONTWAIT as for kaus_net_recvfrom().
 *
 * Return: Bytes sent, or an error.
 */
ssize_t kaus_net_sendmsg(kaus_fd_t fd, const struct msghdr *msg, int flags);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_NET_H */
