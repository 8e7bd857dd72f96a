// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The works of bench/rss in Go.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"
)

func init() {
	benches["drop"] = drop
	benches["peak"] = peak
}

const patience = 10 * time.Second

func residentMB() float64 {
	var size, nr float64
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return 0
	}
	defer f.Close()
	fmt.Fscan(f, &size, &nr)
	return nr * 4096 / (1 << 20)
}

var rssObjs [][]byte

func fill(nr, size int) {
	rssObjs = make([][]byte, nr)
	for i := range rssObjs {
		rssObjs[i] = make([]byte, size)
		rssObjs[i][0] = 1
	}
}

func drop() {
	mb, err := strconv.Atoi(os.Getenv("RSS_MB"))
	if err != nil || mb <= 0 {
		mb = 2048
	}
	fill(mb<<10, 1024)
	before := residentMB()
	start := time.Now()
	half := patience
	for i := range rssObjs {
		rssObjs[i] = nil
	}
	runtime.GC()
	cpu := cpuTime()
	for time.Since(start) < patience {
		if half == patience && residentMB() < before/2 {
			half = time.Since(start)
		}
		time.Sleep(10 * time.Millisecond)
	}
	report("drop_half", float64(half.Milliseconds()), "ms")
	report("drop_cpu", float64(cpuTime()-cpu)/1e6, "ms")
	report("drop_left", residentMB(), "MB")
}

func peak() {
	nr := (1100 << 20) / 512
	before := residentMB()
	fill(nr, 512)
	pages := 0
	last := uintptr(0)
	for i := range rssObjs {
		if i%70 != 0 {
			rssObjs[i] = nil
			continue
		}
		page := uintptr(unsafe.Pointer(&rssObjs[i][0])) / 4096
		if page != last {
			pages++
		}
		last = page
	}
	ideal := before + float64(pages*4096+nr*24)/(1<<20)
	runtime.GC()
	report("peak_ideal", ideal, "MB")
	time.Sleep(100 * time.Millisecond)
	report("peak_100ms", residentMB()/ideal, "x")
	time.Sleep(900 * time.Millisecond)
	report("peak_1s", residentMB()/ideal, "x")
	time.Sleep(patience - time.Second)
	report("peak_10s", residentMB()/ideal, "x")
}
