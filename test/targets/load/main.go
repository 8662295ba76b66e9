// Load: N requests by C clients at once, each client with its own connection, each request with its own path
// (<url-prefix>/<i>; several prefixes take turns). Prints one JSON summary; exits 1 when a request failed.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultRequests = 100
	maxRequests     = 1_000_000
	maxClients      = 1_000
	maxRate         = 1_000_000
	maxErrors       = 10
)

type load struct {
	prefixes    []string
	first       int
	requests    int
	clients     int
	rate        float64       // requests per second, 0: as fast as they are answered
	duration    time.Duration // no request begins later, 0: any time
	timeout     time.Duration
	traceparent bool
	allowStatus int
	allowErrors bool
	traceIDs    [12]byte // the leading part of the trace ids of this run
}

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
	var l load
	flag.Func("url-prefix", "requests go to <url-prefix>/<i>; repeated, the prefixes take turns", func(prefix string) error {
		l.prefixes = append(l.prefixes, prefix)
		return nil
	})
	flag.IntVar(&l.first, "first", 0, "first i")
	flag.IntVar(&l.requests, "n", 0, "number of requests (default 100; with -duration as many as it allows)")
	flag.IntVar(&l.clients, "c", 10, "number of concurrent clients")
	flag.Float64Var(&l.rate, "rate", 0, "requests per second of all clients (default: as fast as they are answered)")
	flag.DurationVar(&l.duration, "duration", 0, "begin no request later")
	flag.DurationVar(&l.timeout, "timeout", 30*time.Second, "of one request")
	flag.BoolVar(&l.traceparent, "traceparent", false, "each second request to a prefix carries a traceparent of its own")
	flag.IntVar(&l.allowStatus, "allow-status", http.StatusOK, "status that counts as a success beside 200")
	flag.BoolVar(&l.allowErrors, "allow-errors", false, "exit 0 when requests failed; each has its own connection")
	flag.Parse()
	if l.requests == 0 {
		l.requests = defaultRequests
		if l.duration > 0 {
			l.requests = maxRequests
		}
	}
	if len(l.prefixes) == 0 || l.requests < 1 || l.requests > maxRequests || l.clients < 1 || l.clients > maxClients ||
		l.rate < 0 || l.rate > maxRate {
		fmt.Fprintf(os.Stderr, "load: needs -url-prefix, 1..%d requests (-n), 1..%d clients (-c), a -rate up to %d\n",
			maxRequests, maxClients, maxRate)
		os.Exit(2)
	}
	if _, err := rand.Read(l.traceIDs[:]); err != nil {
		panic(err)
	}

	results := l.run()
	json.NewEncoder(os.Stdout).Encode(results)
	if results.Failed > 0 && !l.allowErrors {
		os.Exit(1)
	}
}

func (l *load) run() summary {
	var next, begun atomic.Int64
	latencies := make([]time.Duration, l.requests)
	failures := make([]error, l.requests)
	start := make(chan struct{})
	var startedAt time.Time
	var done sync.WaitGroup
	for c := 0; c < l.clients; c++ {
		done.Add(1)
		go func() {
			defer done.Done()
			client := l.client()
			<-start
			for i := int(next.Add(1)) - 1; i < l.requests; i = int(next.Add(1)) - 1 {
				var due time.Duration // after the start
				if l.rate > 0 {
					due = time.Duration(float64(i) / l.rate * float64(time.Second))
				}
				if l.duration > 0 && (due > l.duration || time.Since(startedAt) > l.duration) {
					return
				}
				time.Sleep(time.Until(startedAt.Add(due)))
				n := begun.Add(1) - 1 // where i has gaps: other clients gave up
				began := time.Now()
				failures[n] = l.get(client, i)
				latencies[n] = time.Since(began)
			}
		}()
	}
	startedAt = time.Now()
	close(start)
	done.Wait()
	n := begun.Load()
	return summarize(failures[:n], latencies[:n], time.Since(startedAt))
}

// Its own Transport: the clients share no connection pool. Without keep-alives nothing is sent twice: a client
// repeats a GET whose kept-alive connection breaks, and then two requests have one path.
func (l *load) client() *http.Client {
	return &http.Client{Timeout: l.timeout, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: l.allowErrors,
	}}
}

func (l *load) get(client *http.Client, i int) error {
	url := fmt.Sprintf("%s/%d", l.prefixes[i%len(l.prefixes)], l.first+i)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if l.traceparent && i/len(l.prefixes)%2 == 1 {
		request.Header.Set("Traceparent", fmt.Sprintf("00-%x%08x-%016x-01", l.traceIDs, l.first+i, l.first+i+1))
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != l.allowStatus {
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
		if _, cause, found := strings.Cut(text, `": `); found {
			text = cause // without the URL, which is a different one each time
		}
		if _, known := out.Errors[text]; !known && len(out.Errors) >= maxErrors {
			text = "other"
		}
		out.Errors[text]++
	}
	if len(latencies) == 0 {
		return out
	}
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	out.P50Ms = milliseconds(latencies[len(latencies)*50/100])
	out.P99Ms = milliseconds(latencies[len(latencies)*99/100])
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
