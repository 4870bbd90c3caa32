package main

import "time"

// timerSpan is when timer number i of many is due: 100 ... 1,100 s from now, in no order
func timerSpan(i int) time.Duration {
	return 100*time.Second + time.Duration(uint64(i)*2654435761%1_000_000)*time.Millisecond
}

// rowTimers creates n timers, then stops them all.
func rowTimers(o options) figures {
	timers := make([]*time.Timer, o.n)
	t := time.Now()
	for i := range timers {
		timers[i] = time.AfterFunc(timerSpan(i), func() {})
	}
	create := time.Since(t)
	t = time.Now()
	for _, timer := range timers {
		timer.Stop()
	}
	stop := time.Since(t)
	return figures{"create_ns": float64(create) / float64(o.n), "stop_ns": float64(stop) / float64(o.n)}
}

// rowTimerChurn creates one timer and stops it, again and again, with no other pending.
func rowTimerChurn(o options) figures {
	round := func(n int) time.Duration {
		t := time.Now()
		for range n {
			time.AfterFunc(100*time.Second, func() {}).Stop()
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}
