// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The work of bench/lib/pauses.c in Go. The runtime keeps a histogram of its
// stops, so a percentile is the upper end of a bucket.
package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	benches["gc_pauses_1"] = func() { gcPauses("gc_pauses_1", 1, 4000) }
	benches["gc_pauses_1k"] = func() { gcPauses("gc_pauses_1k", 1000, 4000) }
	benches["gc_pauses_100k"] = func() {
		gcPauses("gc_pauses_100k", 100000, 400)
	}
}

const (
	pausesDepth = 15
	pausesPart  = 6
	pausesSwaps = 64
)

type pausesNode struct {
	left, right *pausesNode
	value       [2]uint64
}

func pausesTree(depth int) *pausesNode {
	n := new(pausesNode)
	if depth > 0 {
		n.left = pausesTree(depth - 1)
		n.right = pausesTree(depth - 1)
	}
	return n
}

func pausesInner(n *pausesNode, way uint64) *pausesNode {
	for i := 0; i < pausesDepth-pausesPart-1; i++ {
		if way&1 != 0 {
			n = n.left
		} else {
			n = n.right
		}
		way >>= 1
	}
	return n
}

func readPauses() ([]uint64, []float64) {
	s := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return append([]uint64(nil), h.Counts...), h.Buckets
}

func gcPauses(metric string, nrParked, nrPauses int) {
	var done atomic.Bool
	var wg sync.WaitGroup
	ch := make(chan int)
	for i := 0; i < nrParked; i++ {
		go func() { <-ch }()
	}
	time.Sleep(100 * time.Millisecond)
	before, _ := readPauses()
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		wg.Add(1)
		go func(state uint64) {
			tree := pausesTree(pausesDepth)
			for !done.Load() {
				for i := 0; i < pausesSwaps; i++ {
					state = state*6364136223846793005 + 1
					n := pausesInner(tree, state>>32)
					n.left, n.right = n.right, n.left
				}
				pausesInner(tree, state>>40).left = pausesTree(pausesPart)
			}
			wg.Done()
		}(uint64(i+1) * 0x9e3779b97f4a7c15)
	}
	var counts []uint64
	var buckets []float64
	for nr := uint64(0); nr < uint64(count(nrPauses)); {
		time.Sleep(10 * time.Millisecond)
		counts, buckets = readPauses()
		nr = 0
		for i := range counts {
			counts[i] -= before[i]
			nr += counts[i]
		}
	}
	done.Store(true)
	wg.Wait()
	reportTail(metric, counts, buckets)
	close(ch)
}

func reportTail(metric string, counts []uint64, buckets []float64) {
	var all uint64
	for _, c := range counts {
		all += c
	}
	for _, q := range []struct {
		name string
		part uint64
	}{{"p50", 500}, {"p99", 990}, {"p999", 999}, {"max", 1000}} {
		var below uint64
		rank := all * q.part / 1000
		if rank == all {
			rank--
		}
		for i, c := range counts {
			below += c
			if below > rank {
				end := buckets[i+1]
				if math.IsInf(end, 1) {
					end = buckets[i]
				}
				report(metric+"_"+q.name, end*1e6, "us")
				break
			}
		}
	}
}
