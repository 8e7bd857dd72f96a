// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The works of bench/mem in Go, under the same names and with the same counts.
package main

import (
	"fmt"
	"os"
	"sort"
	"syscall"
	"time"
)

func init() {
	benches["alloc_16"] = alloc16
	benches["alloc_64"] = alloc64
	benches["alloc_256"] = alloc256
	benches["trees"] = trees
	benches["push"] = push
}

// CPU time of all threads, in ns.
func cpuTime() int64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return ru.Utime.Nano() + ru.Stime.Nano()
}

const nrAlive = 64

type object16 struct {
	p *object16
	_ [8]byte
}

type object64 struct {
	p *object64
	_ [56]byte
}

type object256 struct {
	p *object256
	_ [248]byte
}

var alive16 [nrAlive]*object16
var alive64 [nrAlive]*object64
var alive256 [nrAlive]*object256

func alloc16() {
	nr := count(50000000)
	start := cpuTime()
	for i := 0; i < nr; i++ {
		alive16[i%nrAlive] = new(object16)
	}
	report("alloc_16", float64(cpuTime()-start)/float64(nr), "ns")
}

func alloc64() {
	nr := count(20000000)
	start := cpuTime()
	for i := 0; i < nr; i++ {
		alive64[i%nrAlive] = new(object64)
	}
	report("alloc_64", float64(cpuTime()-start)/float64(nr), "ns")
}

func alloc256() {
	nr := count(20000000)
	start := cpuTime()
	for i := 0; i < nr; i++ {
		alive256[i%nrAlive] = new(object256)
	}
	report("alloc_256", float64(cpuTime()-start)/float64(nr), "ns")
}

type tree struct {
	left, right *tree
}

func treeMake(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{treeMake(depth - 1), treeMake(depth - 1)}
}

func (t *tree) count() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func (t *tree) check(depth int) {
	if t.count() != 2<<depth-1 {
		fmt.Fprintln(os.Stderr, "mem: a tree has lost nodes")
		os.Exit(1)
	}
}

func trees() {
	const minDepth = 4
	max := 18
	if scale < 1 {
		max -= 4
	}
	cpu, wall := cpuTime(), time.Now()
	treeMake(max + 1).check(max + 1)
	kept := treeMake(max)
	for d := minDepth; d <= max; d += 2 {
		for nr := 1 << (max - d + minDepth); nr > 0; nr-- {
			treeMake(d).check(d)
		}
	}
	kept.check(max)
	report("trees_cpu", float64(cpuTime()-cpu)/1e6, "ms")
	report("trees_wall", float64(time.Since(wall).Nanoseconds())/1e6, "ms")
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	report("trees_rss", float64(ru.Maxrss)/1024, "MiB")
}

var window [][]byte

func push() {
	nr, nrWindow := count(3000000), count(200000)
	took := make([]uint32, nr)
	window = make([][]byte, nrWindow)
	cpu, last := cpuTime(), time.Now()
	for i := 0; i < nr; i++ {
		msg := make([]byte, 1024)
		for j := range msg {
			msg[j] = byte(i)
		}
		window[i%nrWindow] = msg
		now := time.Now()
		took[i] = uint32(now.Sub(last))
		last = now
	}
	report("push_cpu", float64(cpuTime()-cpu)/float64(nr), "ns")
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	report("push_p50", float64(took[nr/2])/1000, "us")
	report("push_p99.9", float64(took[nr-1-nr/1000])/1000, "us")
	report("push_worst", float64(took[nr-1])/1000, "us")
}
