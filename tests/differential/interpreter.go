// Runs one program of programs.py, given as JSON in the first argument, and ends as it ends: by main's return, by a panic, or
// by the runtime's deadlock report. What every goroutine has seen goes to stdout, a line an event.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

type program struct {
	Chans   []int // capacities; -1: a nil channel
	Mutexes int
	Groups  []int     // counters of the WaitGroups at the start
	Procs   [][][]any // statements
}

type machine struct {
	program
	chans   []chan int
	mutexes []sync.Mutex
	held    []atomic.Bool // which of them
	groups  []sync.WaitGroup
	seed    int64 // of the yields between statements; 0: none
}

func say(p int, event ...any) {
	text, _ := json.Marshal(event)
	os.Stdout.WriteString(fmt.Sprintf("%d %s\n", p, text))
}

func (m *machine) run(p int) {
	// the last word of a goroutine that panics; the panic goes on, and ends the process
	defer func() {
		if e := recover(); e != nil {
			os.Stdout.WriteString(fmt.Sprintf("%d panic %v\n", p, e))
			panic(e)
		}
	}()
	noise := rand.New(rand.NewSource(m.seed + int64(p)))
	for _, s := range m.Procs[p] {
		for m.seed != 0 && noise.Intn(3) == 0 {
			runtime.Gosched()
		}
		m.step(p, s)
	}
}

func (m *machine) step(p int, s []any) {
	n := func(i int) int { return int(s[i].(float64)) }
	switch s[0] {
	case "go":
		go m.run(n(1))
	case "send":
		m.chans[n(1)] <- n(2)
	case "recv":
		v, ok := <-m.chans[n(1)]
		say(p, v, ok)
	case "range":
		for v := range m.chans[n(1)] {
			say(p, v)
		}
	case "close":
		close(m.chans[n(1)])
	case "len":
		say(p, len(m.chans[n(1)]))
	case "select":
		m.sel(p, s[1].([]any), s[2].(bool))
	case "lock":
		m.mutexes[n(1)].Lock()
		m.held[n(1)].Store(true)
	case "unlock":
		if !m.held[n(1)].CompareAndSwap(true, false) { // Unlock would end the process without a panic
			panic("sync: unlock of unlocked mutex")
		}
		m.mutexes[n(1)].Unlock()
	case "done":
		m.groups[n(1)].Done()
	case "wait":
		m.groups[n(1)].Wait()
	default:
		panic(fmt.Sprint("no such statement: ", s[0]))
	}
}

func (m *machine) sel(p int, cases []any, hasDefault bool) {
	var rc []reflect.SelectCase
	for _, c := range cases {
		c := c.([]any)
		k := reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(m.chans[int(c[1].(float64))])}
		if c[0] == "send" {
			k.Dir, k.Send = reflect.SelectSend, reflect.ValueOf(int(c[2].(float64)))
		}
		rc = append(rc, k)
	}
	if hasDefault {
		rc = append(rc, reflect.SelectCase{Dir: reflect.SelectDefault})
	}
	i, v, ok := reflect.Select(rc)
	if rc[i].Dir == reflect.SelectRecv {
		say(p, i, v.Int(), ok)
	} else {
		say(p, i)
	}
}

func main() {
	var m machine
	if err := json.Unmarshal([]byte(os.Args[1]), &m.program); err != nil {
		panic(err)
	}
	m.seed, _ = strconv.ParseInt(os.Args[2], 10, 64)
	for _, n := range m.Chans {
		if n < 0 {
			m.chans = append(m.chans, nil)
		} else {
			m.chans = append(m.chans, make(chan int, n))
		}
	}
	m.mutexes, m.held = make([]sync.Mutex, m.Mutexes), make([]atomic.Bool, m.Mutexes)
	m.groups = make([]sync.WaitGroup, len(m.Groups))
	for i, n := range m.Groups {
		m.groups[i].Add(n)
	}
	m.run(0)
	say(0, "end")
}
