// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT

// The benchmarks of bench/lib in Go, under the same names and with the same
// counts: prints "metric value unit".
package main

import (
	"fmt"
	"io"
	"net"
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
	"blocking":     blocking,
	"buffered_1_1": func() { buffered("buffered_1_1", 1) },
	"buffered_8_8": func() { buffered("buffered_8_8", 8) },
	"channel":      channel,
	"handoff":      handoff,
	"mutex_1":      func() { contend("mutex_1", 1) },
	"mutex_8":      func() { contend("mutex_8", 8) },
	"net_1":        func() { netEcho("net_1", 1) },
	"net_64":       func() { netEcho("net_64", 64) },
	"parked":       parked,
	"ring":         ring,
	"select_4":     selectFour,
	"sieve":        sieve,
	"skynet":       skynet,
	"sleepers":     sleepers,
	"spawn_batch":  spawnBatch,
	"spawn_join":   spawnJoin,
	"timer":        timer,
	"timers":       timers,
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

func contend(metric string, nrGs int) {
	var mu sync.Mutex
	var ended sync.WaitGroup
	total := 0
	each := count(32000000 / nrGs)
	start := time.Now()
	ended.Add(nrGs)
	for i := 0; i < nrGs; i++ {
		go func() {
			for n := 0; n < each; n++ {
				mu.Lock()
				total++
				mu.Unlock()
			}
			ended.Done()
		}()
	}
	ended.Wait()
	if total != nrGs*each {
		panic(metric)
	}
	reportPer(metric, time.Since(start), total)
}

func rssBytes() float64 {
	var pages, resident int
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fmt.Sscan(string(text), &pages, &resident)
	return float64(resident) * float64(os.Getpagesize())
}

func parked() {
	var ended sync.WaitGroup
	ch := make(chan uint64)
	nr := count(1000000)
	before := rssBytes()
	start := time.Now()
	ended.Add(nr)
	var begun int64
	for i := 0; i < nr; i++ {
		go func() {
			atomic.AddInt64(&begun, 1)
			<-ch
			ended.Done()
		}()
	}
	for atomic.LoadInt64(&begun) < int64(nr) {
		runtime.Gosched()
	}
	reportPer("parked_create", time.Since(start), nr)
	report("parked_rss", (rssBytes()-before)/float64(nr), "B")
	start = time.Now()
	close(ch)
	ended.Wait()
	reportPer("parked_end", time.Since(start), nr)
	time.Sleep(2 * time.Second)
	report("parked_after", rssBytes()/1e6, "MB")
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

func sieve() {
	nr := count(5000)
	start := time.Now()
	ch := make(chan uint64)
	go func(to chan<- uint64) {
		for i := uint64(2); ; i++ {
			to <- i
		}
	}(ch)
	for i := 0; i < nr; i++ {
		prime := <-ch
		next := make(chan uint64)
		go func(from <-chan uint64, to chan<- uint64) {
			for {
				if i := <-from; i%prime != 0 {
					to <- i
				}
			}
		}(ch, next)
		ch = next
	}
	report("sieve", float64(time.Since(start).Nanoseconds())/1e6, "ms")
}

const fanOut = 10

func skynetNode(up chan<- uint64, number, size uint64) {
	if size == 1 {
		up <- number
		return
	}
	ch := make(chan uint64)
	for i := uint64(0); i < fanOut; i++ {
		go skynetNode(ch, number+i*(size/fanOut), size/fanOut)
	}
	sum := uint64(0)
	for i := 0; i < fanOut; i++ {
		sum += <-ch
	}
	up <- sum
}

func skynet() {
	leaves := uint64(10)
	for leaves < uint64(count(1000000)) {
		leaves *= fanOut
	}
	ch := make(chan uint64)
	start := time.Now()
	go skynetNode(ch, 0, leaves)
	if sum := <-ch; sum != leaves*(leaves-1)/2 {
		fmt.Fprintln(os.Stderr, "bench: skynet: wrong sum", sum)
		os.Exit(1)
	}
	report("skynet", float64(time.Since(start).Nanoseconds())/1e6, "ms")
}

func echo(conn net.Conn) {
	var buf [4096]byte
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			conn.Close()
			return
		}
		if _, err = conn.Write(buf[:n]); err != nil {
			panic(err)
		}
	}
}

func netEcho(metric string, nrConns int) {
	var wg sync.WaitGroup
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go echo(conn)
		}
	}()
	each := count(200000 / nrConns)
	conns := make([]net.Conn, nrConns)
	for i := range conns {
		if conns[i], err = net.Dial("tcp4", listener.Addr().String()); err != nil {
			panic(err)
		}
	}
	wg.Add(nrConns)
	start := time.Now()
	for _, conn := range conns {
		go func(conn net.Conn) {
			var buf [64]byte
			for i := 0; i < each; i++ {
				if _, err := conn.Write(buf[:]); err != nil {
					panic(err)
				}
				if _, err := io.ReadFull(conn, buf[:]); err != nil {
					panic(err)
				}
			}
			conn.Close()
			wg.Done()
		}(conn)
	}
	wg.Wait()
	reportPer(metric, time.Since(start), each*nrConns)
	listener.Close()
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

func selectFour() {
	var chans [4]chan int
	for i := range chans {
		chans[i] = make(chan int)
	}
	nr := count(1000000)
	start := time.Now()
	go func() {
		for i := 0; i < nr; i++ {
			chans[i%4] <- i
		}
	}()
	for i := 0; i < nr; i++ {
		select {
		case <-chans[0]:
		case <-chans[1]:
		case <-chans[2]:
		case <-chans[3]:
		}
	}
	reportPer("select_4", time.Since(start), nr)
}

func sleepNs(i int) time.Duration {
	return time.Duration(uint64(i) * 2654435761 % 1000000000)
}

func sleepers() {
	const rounds = 2
	var wg sync.WaitGroup
	nr := count(10000)
	late := make([]time.Duration, nr*rounds)
	wg.Add(nr)
	for i := 0; i < nr; i++ {
		go func(i int) {
			for r := i * rounds; r < (i+1)*rounds; r++ {
				d := sleepNs(r)
				start := time.Now()
				time.Sleep(d)
				late[r] = time.Since(start) - d
			}
			wg.Done()
		}(i)
	}
	wg.Wait()
	reportPercentiles("sleepers_late", late)
}

func cpuMs() float64 {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e6
}

func timers() {
	var wg sync.WaitGroup
	nr := count(1000000)
	late := make([]time.Duration, nr)
	wg.Add(nr)
	cpu := cpuMs()
	start := time.Now()
	for i := 0; i < nr; i++ {
		i, due, now := i, sleepNs(i), time.Since(start)
		// What is due before it is armed is late from then on.
		if due < now {
			due = now
		}
		time.AfterFunc(due-now, func() {
			late[i] = time.Since(start) - due
			wg.Done()
		})
	}
	wg.Wait()
	report("timers_cpu", cpuMs()-cpu, "ms")
	reportPercentiles("timers_late", late)
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

// What sleeps does so in a system call that the runtime is told of, which is what
// a call of C costs at least.
func blocking() {
	const nrHogs, nrSleepers, nrPhases = 100, 16, 4
	const nap = 5 * time.Millisecond
	var steps [nrHogs]struct {
		nr  uint64
		pad [120]byte
	}
	var on, done uint32
	var sleeps uint64
	var ended sync.WaitGroup
	turn := make(chan uint64, nrSleepers)

	ended.Add(nrHogs + nrSleepers)
	for i := 0; i < nrHogs; i++ {
		nr := &steps[i].nr
		go func() {
			x := uint64(1)
			for atomic.LoadUint32(&done) == 0 {
				for j := 0; j < 200; j++ {
					x = x*6364136223846793005 + 1
				}
				atomic.StoreUint64(nr, atomic.LoadUint64(nr)+1)
			}
			atomic.StoreUint64(&sink, x)
			ended.Done()
		}()
	}
	for i := 0; i < nrSleepers; i++ {
		go func() {
			for range turn {
				for atomic.LoadUint32(&on) != 0 {
					ts := syscall.NsecToTimespec(int64(nap))
					syscall.Nanosleep(&ts, nil)
					atomic.AddUint64(&sleeps, 1)
				}
			}
			ended.Done()
		}()
	}
	sum := func() (nr uint64) {
		for i := range steps {
			nr += atomic.LoadUint64(&steps[i].nr)
		}
		return
	}
	phase := func(with bool) float64 {
		if with {
			atomic.StoreUint32(&on, 1)
			for i := 0; i < nrSleepers; i++ {
				select {
				case turn <- 0:
				default: // who is late is on anyway
				}
			}
		}
		before, start := sum(), time.Now()
		time.Sleep(500 * time.Millisecond)
		speed := float64(sum()-before) / time.Since(start).Seconds()
		atomic.StoreUint32(&on, 0)
		time.Sleep(4 * nap)
		return speed
	}
	var total [2]float64
	phase(true)
	before, start := atomic.LoadUint64(&sleeps), time.Now()
	for i := 0; i < count(2*nrPhases); i++ {
		total[i%2] += phase(i%2 == 1)
	}
	report("blocking_kept", 100*total[1]/total[0], "%")
	report("blocking_sleeps", float64(atomic.LoadUint64(&sleeps)-before)/
		time.Since(start).Seconds(), "/s")
	atomic.StoreUint32(&done, 1)
	close(turn)
	ended.Wait()
}

var sink uint64

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
