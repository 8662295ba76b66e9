// Load: N requests by C clients at once, each client with its own connection, each request with its own path
// (<url-prefix>/<i>). Prints one JSON summary; exits 1 when a request failed.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRequests = 1_000_000
	maxClients  = 1_000
	maxErrors   = 10
)

type summary struct {
	Requests   int            `json:"requests"`
	OK         int            `json:"ok"`
	Failed     int            `json:"failed"`
	Errors     map[string]int `json:"errors,omitempty"`
	DurationMs float64        `json:"durationMs"`
	P50Ms      float64        `json:"p50Ms"`
	P99Ms      float64        `json:"p99Ms"`
}

func main() {
	prefix := flag.String("url-prefix", "", "requests go to <url-prefix>/<i>")
	first := flag.Int("first", 0, "first i")
	requests := flag.Int("n", 100, "number of requests")
	clients := flag.Int("c", 10, "number of concurrent clients")
	timeout := flag.Duration("timeout", 30*time.Second, "of one request")
	flag.Parse()
	if *prefix == "" || *requests < 1 || *requests > maxRequests || *clients < 1 || *clients > maxClients {
		fmt.Fprintf(os.Stderr, "load: needs -url-prefix, 1..%d requests (-n), 1..%d clients (-c)\n",
			maxRequests, maxClients)
		os.Exit(2)
	}

	results := run(*prefix, *first, *requests, *clients, *timeout)
	json.NewEncoder(os.Stdout).Encode(results)
	if results.Failed > 0 {
		os.Exit(1)
	}
}

func run(prefix string, first, requests, clients int, timeout time.Duration) summary {
	var next atomic.Int64
	latencies := make([]time.Duration, requests)
	failures := make([]error, requests)
	start := make(chan struct{})
	var done sync.WaitGroup
	for c := 0; c < clients; c++ {
		done.Add(1)
		go func() {
			defer done.Done()
			// Its own Transport: the clients share no connection pool.
			client := http.Client{Transport: &http.Transport{}, Timeout: timeout}
			<-start
			for i := int(next.Add(1)) - 1; i < requests; i = int(next.Add(1)) - 1 {
				began := time.Now()
				failures[i] = get(&client, fmt.Sprintf("%s/%d", prefix, first+i))
				latencies[i] = time.Since(began)
			}
		}()
	}
	began := time.Now()
	close(start)
	done.Wait()
	return summarize(failures, latencies, time.Since(began))
}

func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func summarize(failures []error, latencies []time.Duration, took time.Duration) summary {
	out := summary{Requests: len(failures), Errors: map[string]int{}, DurationMs: milliseconds(took)}
	for _, err := range failures {
		if err == nil {
			out.OK++
			continue
		}
		out.Failed++
		text := err.Error()
		if _, known := out.Errors[text]; !known && len(out.Errors) >= maxErrors {
			text = "other"
		}
		out.Errors[text]++
	}
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	out.P50Ms = milliseconds(latencies[len(latencies)*50/100])
	out.P99Ms = milliseconds(latencies[len(latencies)*99/100])
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
