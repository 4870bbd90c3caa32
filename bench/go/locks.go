package main

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// rowMutex locks and unlocks a mutex that nobody else wants.
func rowMutex(o options) figures {
	var m sync.Mutex
	round := func(n int) time.Duration {
		t := time.Now()
		for range n {
			m.Lock()
			m.Unlock()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}

// rowMutexBusy has n goroutines that lock, yield, unlock: nearly every lock waits.
func rowMutexBusy(o options) figures {
	round := func(n int) time.Duration {
		var m sync.Mutex
		var wg sync.WaitGroup
		each := max(1, n/o.n)
		t := time.Now()
		for range o.n {
			wg.Go(func() {
				for range each {
					m.Lock()
					runtime.Gosched()
					m.Unlock()
				}
			})
		}
		wg.Wait()
		return time.Duration(float64(time.Since(t)) * float64(n) / float64(each*o.n))
	}
	return figures{"ns": measure(o, 64, round)}
}

// rowTimeout makes and ends a context with a timeout.
func rowTimeout(o options) figures {
	round := func(n int) time.Duration {
		t := time.Now()
		for range n {
			_, cancel := context.WithTimeout(context.Background(), 100*time.Second)
			cancel()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}

// rowGroup starts ten goroutines and waits for all of them.
func rowGroup(o options) figures {
	round := func(n int) time.Duration {
		t := time.Now()
		for range n {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {})
			}
			wg.Wait()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}
