// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The benchmarks of bench/lib in Go, under the same names and with the same
// counts: prints "metric value unit".
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var benches = map[string]func(){
	"buffered_1_1": func() { buffered("buffered_1_1", 1) },
	"buffered_8_8": func() { buffered("buffered_8_8", 8) },
	"channel":      channel,
	"handoff":      handoff,
	"ring":         ring,
	"spawn_batch":  spawnBatch,
	"spawn_join":   spawnJoin,
	"timer":        timer,
	"yield_1000":   func() { yieldAmong("yield_1000", 1000, 4000000) },
	"yield_2":      func() { yieldAmong("yield_2", 2, 4000000) },
}

var scale = 1.0

func count(nr int) int {
	if n := int(float64(nr) * scale); n > 10 {
		return n
	}
	return 10
}

func report(metric string, value float64, unit string) {
	fmt.Printf("%s %.4g %s\n", metric, value, unit)
}

func reportPer(metric string, d time.Duration, nr int) {
	report(metric, float64(d.Nanoseconds())/float64(nr), "ns")
}

func reportPercentiles(metric string, d []time.Duration) {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	report(metric+"_p50", float64(d[len(d)/2].Nanoseconds())/1000, "us")
	report(metric+"_p99", float64(d[len(d)*99/100].Nanoseconds())/1000, "us")
}

func yieldAmong(metric string, nrGs, nrYields int) {
	var wg sync.WaitGroup
	turns := count(nrYields / nrGs)
	wg.Add(nrGs)
	start := time.Now()
	for i := 0; i < nrGs; i++ {
		go func() {
			for t := 0; t < turns; t++ {
				runtime.Gosched()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	reportPer(metric, time.Since(start), turns*nrGs)
}

// Go has no join: a wait group is the cheapest way to wait for the end.
func spawn(wg *sync.WaitGroup) {
	wg.Add(1)
	go func() { wg.Done() }()
}

func spawnJoin() {
	var wg sync.WaitGroup
	nr := count(1000000)
	start := time.Now()
	for i := 0; i < nr; i++ {
		spawn(&wg)
		wg.Wait()
	}
	reportPer("spawn_join", time.Since(start), nr)
}

func spawnBatch() {
	const batch = 1000
	var wg sync.WaitGroup
	rounds := count(1000)
	start := time.Now()
	for r := 0; r < rounds; r++ {
		for i := 0; i < batch; i++ {
			spawn(&wg)
		}
		wg.Wait()
	}
	reportPer("spawn_batch", time.Since(start), rounds*batch)
}

func channel() {
	there, back := make(chan uint64), make(chan uint64)
	nr := count(1000000)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	start := time.Now()
	for i := 0; i < nr; i++ {
		there <- uint64(i)
		<-back
	}
	reportPer("channel", time.Since(start), nr)
	close(there)
}

func buffered(metric string, side int) {
	var senders, receivers sync.WaitGroup
	ch := make(chan uint64, 128)
	each := count(8000000 / side)
	senders.Add(side)
	receivers.Add(side)
	start := time.Now()
	for i := 0; i < side; i++ {
		go func() {
			for v := 0; v < each; v++ {
				ch <- uint64(v)
			}
			senders.Done()
		}()
		go func() {
			for range ch {
			}
			receivers.Done()
		}()
	}
	senders.Wait()
	close(ch)
	receivers.Wait()
	reportPer(metric, time.Since(start), each*side)
}

func ring() {
	const nr = 100
	var wg sync.WaitGroup
	var chans [nr]chan uint64
	laps := count(20000)
	for i := range chans {
		chans[i] = make(chan uint64)
	}
	wg.Add(nr)
	for i := range chans {
		go func(place int) {
			from, to := chans[place], chans[(place+1)%nr]
			for l := 0; l < laps; l++ {
				token := <-from
				if place < nr-1 || l < laps-1 {
					to <- token
				}
			}
			wg.Done()
		}(i)
	}
	start := time.Now()
	chans[0] <- 0
	wg.Wait()
	reportPer("ring", time.Since(start), laps*nr)
}

func timer() {
	const sleep = time.Millisecond
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		go func() {
			for {
			}
		}()
	}
	late := make([]time.Duration, count(300))
	for i := range late {
		start := time.Now()
		time.Sleep(sleep)
		late[i] = time.Since(start) - sleep
	}
	reportPercentiles("timer_late", late)
}

func handoff() {
	if runtime.GOMAXPROCS(0) != 1 {
		fmt.Fprintln(os.Stderr, "bench: GOMAXPROCS must be 1")
		os.Exit(1)
	}
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		panic(err)
	}
	base := time.Now()
	var asleepSince int64
	go func() {
		var buf [1]byte
		for {
			atomic.StoreInt64(&asleepSince, int64(time.Since(base)))
			for n := 0; n != 1; {
				n, _ = syscall.Read(fds[0], buf[:])
			}
		}
	}()
	d := make([]time.Duration, count(2000))
	for i := range d {
		var since int64
		for since == 0 {
			runtime.Gosched()
			since = atomic.SwapInt64(&asleepSince, 0)
		}
		d[i] = time.Since(base) - time.Duration(since)
		if n, err := syscall.Write(fds[1], []byte("x")); n != 1 {
			panic(err)
		}
	}
	reportPercentiles("handoff", d)
}

func main() {
	if s, err := strconv.ParseFloat(os.Getenv("BENCH_SCALE"), 64); err == nil && s > 0 {
		scale = s
	}
	if len(os.Args) == 2 && benches[os.Args[1]] != nil {
		benches[os.Args[1]]()
		return
	}
	fmt.Fprintf(os.Stderr, "usage: %s NAME\n", os.Args[0])
	os.Exit(2)
}
