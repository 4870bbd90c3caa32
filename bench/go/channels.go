package main

import "time"

func rowPingpong(o options) figures {
	round := func(n int) time.Duration {
		a, b := make(chan int), make(chan int)
		go func() {
			for range n {
				b <- <-a
			}
		}()
		t := time.Now()
		for i := range n {
			a <- i
			<-b
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round) / 2}
}

func rowStream(o options, slots int) figures {
	round := func(n int) time.Duration {
		c := make(chan int, slots)
		go func() {
			for i := range n {
				c <- i
			}
		}()
		t := time.Now()
		for range n {
			<-c
		}
		return time.Since(t)
	}
	return figures{"ns": measure(o, 8, round)}
}

// order is which of n channels the select rows send on, one period of 64: fixed, and in no order.
func order(n int) (o [64]int) {
	for i := range o {
		o[i] = (i*5 + i/8) % n
	}
	return
}

func select2(c []chan int) int {
	select {
	case v := <-c[0]:
		return v
	case v := <-c[1]:
		return v
	}
}

func select8(c []chan int) int {
	select {
	case v := <-c[0]:
		return v
	case v := <-c[1]:
		return v
	case v := <-c[2]:
		return v
	case v := <-c[3]:
		return v
	case v := <-c[4]:
		return v
	case v := <-c[5]:
		return v
	case v := <-c[6]:
		return v
	case v := <-c[7]:
		return v
	}
}

func selectOf(n int) func([]chan int) int {
	if n == 8 {
		return select8
	}
	return select2
}

func makeChans(n, slots int) []chan int {
	chans := make([]chan int, n)
	for i := range chans {
		chans[i] = make(chan int, slots)
	}
	return chans
}

func rowSelectReady(o options) figures {
	round := func(n int) time.Duration {
		chans, which, sel := makeChans(o.n, 1), order(o.n), selectOf(o.n)
		t := time.Now()
		for range n/64 + 1 {
			for _, i := range which {
				chans[i] <- 1
				sel(chans)
			}
		}
		return time.Duration(float64(time.Since(t)) * float64(n) / float64((n/64+1)*64))
	}
	return figures{"ns": measure(o, 64, round)}
}

func rowSelectBlock(o options) figures {
	round := func(n int) time.Duration {
		chans, which, sel := makeChans(o.n, 0), order(o.n), selectOf(o.n)
		whole := (n/64 + 1) * 64
		go func() {
			for range whole / 64 {
				for _, i := range which {
					chans[i] <- 1
				}
			}
		}()
		t := time.Now()
		for range whole {
			sel(chans)
		}
		return time.Duration(float64(time.Since(t)) * float64(n) / float64(whole))
	}
	return figures{"ns": measure(o, 64, round)}
}
