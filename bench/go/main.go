// Command bench_go does one sample of a row in Go and prints one JSON line: figures, or {"skip": "why not"}.
//
// The options are those of bench/python/common.py. The harness sets GOMAXPROCS=1.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures are what a row prints.
type figures map[string]any

// options of the command line.
type options struct {
	time float64
	n    int
	gap  float64
	hogs int
}

const startBatch = 10_000 // goroutines started and joined in one round of startmany
const countLimit = 1 << 30

var rows = map[string]func(options) figures{
	"yield":       rowYield,
	"spawn":       rowSpawn,
	"startmany":   rowStartMany,
	"parked":      rowParked,
	"sleepers":    rowSleepers,
	"pingpong":    rowPingpong,
	"unbuffered":  func(o options) figures { return rowStream(o, 0) },
	"buffered":    func(o options) figures { return rowStream(o, 128) },
	"selectready": rowSelectReady,
	"selectblock": rowSelectBlock,
	"mutex":       rowMutex,
	"mutexbusy":   rowMutexBusy,
	"timeout":     rowTimeout,
	"group":       rowGroup,
	"timers":      rowTimers,
	"timerchurn":  rowTimerChurn,
	"blocking":    rowBlocking,
	"echo":        rowEcho,
	"line":        rowLine,
	"tls":         rowTLS,
	"udp":         rowUDP,
	"accept":      rowAccept,
	"copyfile":    rowCopyFile,
	"copysocket":  rowCopySocket,
	"version":     func(options) figures { return figures{"version": runtime.Version()} },
}

// measure calls round(n) with growing n until a round lasts long enough, and returns its ns per operation.
func measure(o options, first int, round func(n int) time.Duration) float64 {
	want := o.time * 1e9
	n := first
	round(n) // thrown away: code, stacks and caches are warm from here on
	for {
		t := float64(round(n))
		if t >= want || n >= countLimit {
			return t / float64(n)
		}
		factor := min(20, max(2, 1.3*want/max(t, 1)))
		n = min(countLimit, int(float64(n)*factor))
	}
}

// resident is the memory of this process in bytes: resident pages and page tables.
func resident() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	total := 0
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmPTE:") {
			kb, _ := strconv.Atoi(strings.Fields(line)[1])
			total += kb * 1024
		}
	}
	return float64(total)
}

// cpuNow is the CPU time of this process, all its threads.
func cpuNow() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bench_go ROW [--time S] [--n N] [--gap S]")
		os.Exit(2)
	}
	var o options
	f := flag.NewFlagSet("bench_go", flag.ExitOnError)
	f.Float64Var(&o.time, "time", 0.3, "seconds a sample should last at least")
	f.IntVar(&o.n, "n", 2, "goroutines, cases, sleepers, ... of the row")
	f.Float64Var(&o.gap, "gap", 0, "seconds between two blocking calls")
	f.IntVar(&o.hogs, "hogs", 0, "goroutines that compute meanwhile")
	_ = f.Parse(os.Args[2:])
	row := rows[os.Args[1]]
	out := figures{"skip": "has no such thing"}
	if row != nil {
		out = row(o)
	}
	line, _ := json.Marshal(out)
	fmt.Println(string(line))
}
