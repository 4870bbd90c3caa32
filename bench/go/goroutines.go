package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func rowYield(o options) figures {
	round := func(n int) time.Duration {
		each := max(1, n/o.n)
		var wg sync.WaitGroup
		wg.Add(o.n)
		for range o.n {
			go func() {
				for range each {
					runtime.Gosched()
				}
				wg.Done()
			}()
		}
		t := time.Now()
		wg.Wait()
		return time.Duration(float64(time.Since(t)) * float64(n) / float64(each*o.n))
	}
	return figures{"ns": measure(o, o.n*4, round)}
}

func nothing(wg *sync.WaitGroup) { wg.Done() }

func rowSpawn(o options) figures {
	round := func(n int) time.Duration {
		var wg sync.WaitGroup
		t := time.Now()
		for range n {
			wg.Add(1)
			go nothing(&wg)
			wg.Wait()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}

func rowStartMany(o options) figures {
	round := func(n int) time.Duration {
		var wg sync.WaitGroup
		t := time.Now()
		for range n {
			wg.Add(startBatch)
			for range startBatch {
				go nothing(&wg)
			}
			wg.Wait()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 1, round) / startBatch}
}

//go:noinline
func inner(never chan int, parked *atomic.Int64) int {
	parked.Add(1)
	return <-never
}

//go:noinline
func outer(never chan int, parked *atomic.Int64) int {
	return inner(never, parked) + 1
}

func rowParked(o options) figures {
	never := make(chan int)
	var parked atomic.Int64
	before, t := resident(), time.Now()
	for range o.n {
		go outer(never, &parked)
	}
	for parked.Load() < int64(o.n) {
		runtime.Gosched()
	}
	seconds := time.Since(t).Seconds()
	return figures{"bytes": (resident() - before) / float64(o.n), "seconds": seconds}
}

// sleepFor spreads the sleepers over 0.1 ... 0.3 s in no order.
func sleepFor(i int) time.Duration {
	return 100*time.Millisecond + time.Duration(i*7919%10_000)*20*time.Microsecond
}

func rowSleepers(o options) figures {
	var wg sync.WaitGroup
	cpu, t := cpuNow(), time.Now()
	wg.Add(o.n)
	for i := range o.n {
		go func() {
			time.Sleep(sleepFor(i))
			wg.Done()
		}()
	}
	wg.Wait()
	return figures{"cpu_ns": float64(cpuNow()-cpu) / float64(o.n), "wall_s": time.Since(t).Seconds()}
}

// rowBlocking makes the system call in place, as Go does: there is no trip to another thread.
func rowBlocking(o options) figures {
	var wall, count int64
	cpu := cpuNow()
	end := time.Now().Add(time.Duration(o.time * 1e9))
	for time.Now().Before(end) {
		if o.gap > 0 {
			time.Sleep(time.Duration(o.gap * 1e9))
		}
		t := time.Now()
		_, _, _ = syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
		wall += int64(time.Since(t))
		count++
	}
	return figures{"ns": float64(wall) / float64(count), "cpu_ns": float64(cpuNow()-cpu) / float64(count)}
}
