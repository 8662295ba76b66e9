package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxClients  = 256
	maxRequests = 1_000_000
	timeout     = 10 * time.Second
)

// One server as the load saw it. Latencies count from the moment when the schedule wanted the request sent, so that
// a server that stalls does not hide it by being asked later.
type result struct {
	URL    string  `json:"url"`
	OK     int     `json:"ok"`
	Failed int     `json:"failed"`
	Error  string  `json:"error,omitempty"`
	P50Ms  float64 `json:"p50Ms"`
	P99Ms  float64 `json:"p99Ms"`
}

type summary struct {
	DurationMs float64  `json:"durationMs"`
	Servers    []result `json:"servers"`
}

type urls []string

func (u *urls) String() string         { return strings.Join(*u, ",") }
func (u *urls) Set(value string) error { *u = append(*u, value); return nil }

// Warms up, prints {"warm":true}, waits for a line on stdin (the caller reads CPU times meanwhile), measures, prints
// the summary.
func load(args []string) error {
	var targets urls
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	flags.Var(&targets, "url", "a server; requests go to <url>/<i>; repeated: all are driven at once, in turn")
	requests := flags.Int("n", 1500, "requests to each server, with -rate")
	rate := flags.Float64("rate", 0, "requests per second to each server; 0: as fast as they answer, for -duration")
	duration := flags.Duration("duration", time.Second, "how long, without -rate")
	warm := flags.Int("warm", 100, "requests to each server before the measurement")
	clients := flags.Int("c", 16, "concurrent requests to each server")
	flags.Parse(args)
	if len(targets) == 0 || *clients < 1 || *clients > maxClients || *requests < 1 || *requests > maxRequests ||
		*warm < 0 || *warm > maxRequests || *rate < 0 || *duration > time.Minute {
		return fmt.Errorf("needs -url, 1..%d requests (-n), 1..%d clients (-c), at most 1m (-duration)", maxRequests, maxClients)
	}
	// One pool for all: each server keeps as many connections as it has clients.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *clients}, Timeout: timeout}
	for _, server := range paced(client, targets, *warm, *clients, *rate, time.Minute).Servers {
		if server.Failed > 0 {
			return fmt.Errorf("warm-up: %s", server.Error)
		}
	}
	fmt.Println(`{"warm":true}`)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return errors.New("nobody said go on stdin")
	}
	count := *requests
	if *rate == 0 {
		count = maxRequests
	}
	return json.NewEncoder(os.Stdout).Encode(paced(client, targets, count, *clients, *rate, *duration))
}

// Sends `count` requests to each server, evenly spaced when rate is not 0, else until `duration` is over.
func paced(client *http.Client, targets urls, count, clients int, rate float64, duration time.Duration) summary {
	began := time.Now()
	servers := make([]result, len(targets))
	var done sync.WaitGroup
	for at := range targets {
		done.Add(1)
		go func(at int) {
			defer done.Done()
			servers[at] = one(client, targets[at], count, clients, func(i int) (time.Time, bool) {
				if rate == 0 {
					now := time.Now()
					return now, now.Sub(began) < duration
				}
				// The servers take turns: with two, the second is asked halfway between two requests to the first.
				turn := float64(i) + float64(at)/float64(len(targets))
				return began.Add(time.Duration(turn / rate * float64(time.Second))), true
			})
		}(at)
	}
	done.Wait()
	return summary{DurationMs: milliseconds(time.Since(began)), Servers: servers}
}

// `due` says when request i is to be sent, and false when no more are.
func one(client *http.Client, url string, count, clients int, due func(int) (time.Time, bool)) result {
	var next atomic.Int64
	var merging sync.Mutex
	var done sync.WaitGroup
	out := result{URL: url}
	latencies := []time.Duration{}
	for c := 0; c < clients; c++ {
		done.Add(1)
		go func() {
			defer done.Done()
			own := []time.Duration{}
			var failed error
			failures := 0
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				at, more := due(i)
				if !more {
					break
				}
				time.Sleep(time.Until(at))
				if err := get(client, fmt.Sprintf("%s/%d", url, i)); err != nil {
					failed = err
					failures++
				}
				own = append(own, time.Since(at))
			}
			merging.Lock()
			defer merging.Unlock()
			latencies = append(latencies, own...)
			out.Failed += failures
			if failed != nil {
				out.Error = failed.Error()
			}
		}()
	}
	done.Wait()
	out.OK = len(latencies) - out.Failed
	if len(latencies) > 0 {
		sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
		out.P50Ms = milliseconds(latencies[len(latencies)*50/100])
		out.P99Ms = milliseconds(latencies[len(latencies)*99/100])
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
