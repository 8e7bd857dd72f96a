/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The library's micro-benchmarks. Each is a function that runs as the first
 * goroutine and reports one number or a few; bench/go holds the same in Go,
 * under the same names, and run.sh puts the two side by side.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include <kaus.h>

void bench_blocking(void);
void bench_buffered_1_1(void);
void bench_buffered_8_8(void);
void bench_channel(void);
void bench_file(void);
void bench_gc_concurrent(void);
void bench_gc_pauses_1(void);
void bench_gc_pauses_1k(void);
void bench_gc_pauses_100k(void);
void bench_gc_pauses_final(void);
void bench_gc_pauses_timers(void);
void bench_gc_pages(void);
void bench_gc_stop(void);
void bench_gc_store(void);
void bench_handoff(void);
void bench_heap_locks(void);
void bench_mutex_1(void);
void bench_mutex_8(void);
void bench_net_1(void);
void bench_net_64(void);
void bench_net_64_epoll(void);
void bench_parked(void);
void bench_ring(void);
void bench_select(void);
void bench_sharing(void);
void bench_sieve(void);
void bench_skynet(void);
void bench_sleepers(void);
void bench_spawn_batch(void);
void bench_spawn_join(void);
void bench_stack(void);
void bench_timer(void);
void bench_timers(void);
void bench_yield_2(void);
void bench_yield_1000(void);

/* Scales the number of operations; 1 unless BENCH_SCALE says otherwise. */
extern double bench_scale;

size_t bench_count(size_t nr);
void bench_report(const char *metric, double value, const char *unit);
void bench_report_percentiles(const char *metric, uint64_t *ns, size_t nr);
/* The same with more of the tail. */
void bench_report_tail(const char *metric, uint64_t *ns, size_t nr);

/* Ends the program with a message if @err is not 0. */
void bench_check(int err, const char *what);
void bench_go(void (*fn)(void *arg), void *arg);
struct kaus_g *bench_spawn(void *(*fn)(void *arg), void *arg);
struct kaus_chan *bench_chan(size_t elem_size, size_t capacity);

#endif /* BENCH_H */
