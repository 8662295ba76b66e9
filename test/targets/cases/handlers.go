package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxSleep   = 20 * time.Millisecond
	asyncDelay = 20 * time.Millisecond
	lateDelay  = 3 * time.Second
	timerDelay = 5 * time.Millisecond
	maxDepth   = 64
)

// Each case also answers below itself (/pool/17), so that every request can have a path of its own. net/http calls
// the handlers themselves, without a wrapper: what it calls is the handler that a tracer names.
func routes(started *workers) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, handler)
		mux.HandleFunc(pattern+"/", handler)
	}
	handle("/none", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	handle("/fresh", handleFresh)
	handle("/slow", handleSlow)
	handle("/pool", handlePool)
	handle("/slowpool", handleSlowPool)
	handle("/two", handleTwo)
	handle("/post", handlePost)
	handle("/limit", handleLimit)
	handle("/tls", handleTLS)
	handle("/h2", handleH2)
	handle("/h2post", handleH2Post)
	handle("/raw", handleRaw)
	handle("/rawpool", raws.serve)
	handle("/fanout", handleFanout)
	handle("/dual", handleDual)
	handle("/v6", func(w http.ResponseWriter, r *http.Request) { answer(w, freshTo(serving(r), freshClient, plainURL6)) })
	handle("/refused", handleRefused)
	handle("/async", handleAsync)
	handle("/late", handleLate)
	handle("/afterfunc", handleAfterFunc)
	handle("/panic", handlePanic)
	mux.HandleFunc("/nested/", handleNested)
	lazy := newWorkers()
	for pattern, pool := range map[string]*workers{"/workers": started, "/lazy": lazy} {
		mux.Handle(pattern, pool)
		mux.Handle(pattern+"/", pool)
	}
	return mux
}

func handleFresh(w http.ResponseWriter, r *http.Request) { answer(w, fresh(serving(r))) }

// Requests that wait before they call interleave: attribution by process or by thread goes wrong there.
func handleSlow(w http.ResponseWriter, r *http.Request) {
	time.Sleep(randomSleep())
	answer(w, fresh(serving(r)))
}

func handlePool(w http.ResponseWriter, r *http.Request) { answer(w, serving(r).pooled()) }

func handleSlowPool(w http.ResponseWriter, r *http.Request) {
	time.Sleep(randomSleep())
	answer(w, serving(r).pooled())
}

func handleTwo(w http.ResponseWriter, r *http.Request) {
	in := serving(r)
	answer(w, in.pooled(), viaGet(in, poolClient, plainURL))
}

func handlePost(w http.ResponseWriter, r *http.Request) {
	answer(w, post(serving(r), poolClient, plainURL, strings.Repeat("x", bodyBytes)))
}

func handleLimit(w http.ResponseWriter, r *http.Request) {
	answer(w, viaGet(serving(r), limitClient, plainURL))
}

func handleTLS(w http.ResponseWriter, r *http.Request) {
	answer(w, viaGet(serving(r), tlsClient, tlsURL))
}

func handleH2(w http.ResponseWriter, r *http.Request) {
	answer(w, viaGet(serving(r), h2Client, tlsURL))
}

func handleH2Post(w http.ResponseWriter, r *http.Request) {
	answer(w, post(serving(r), h2Client, tlsURL, bytes.Repeat([]byte("x"), bodyBytes)))
}

func handleRaw(w http.ResponseWriter, r *http.Request) { answer(w, raws.once(serving(r))) }

func handleDual(w http.ResponseWriter, r *http.Request) {
	answer(w, freshTo(serving(r), dualClient, dualURL))
}

func handleRefused(w http.ResponseWriter, r *http.Request) {
	err := freshTo(serving(r), refusedClient, refusedURL)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		answer(w, fmt.Errorf("%s should refuse: %v", refusedURL, err))
		return
	}
	answer(w, nil)
}

// Three goroutines, each with one of its own; all six call.
func handleFanout(w http.ResponseWriter, r *http.Request) {
	const branches = 3
	in := serving(r)
	results := make(chan error)
	for i := 0; i < branches; i++ {
		go func() {
			go func() { results <- fresh(in) }()
			results <- fresh(in)
		}()
	}
	errs := make([]error, 2*branches)
	for i := range errs {
		errs[i] = <-results
	}
	answer(w, errs...)
}

// /nested/<depth>: a goroutine in a goroutine in a …, the innermost of which calls.
func handleNested(w http.ResponseWriter, r *http.Request) {
	in := serving(r)
	depth, err := strconv.Atoi(strings.Split(r.URL.Path, "/")[2])
	if err != nil || depth < 1 || depth > maxDepth {
		http.Error(w, fmt.Sprintf("/nested/<depth> needs a depth of 1 to %d", maxDepth), http.StatusBadRequest)
		return
	}
	results := make(chan error)
	nest(depth, func() {
		results <- in.pooled()
		results <- fresh(in)
	})
	answer(w, <-results, <-results)
}

func nest(depth int, work func()) {
	if depth == 0 {
		work()
		return
	}
	go nest(depth-1, work)
}

// The closure makes the call itself.
func handleAsync(w http.ResponseWriter, r *http.Request) {
	in := serving(r)
	go func() {
		time.Sleep(asyncDelay)
		request := in.requestOnNextLine(http.MethodGet, plainURL, nil)
		response, err := freshClient.Do(request)
		logFailure(finish(response, err))
	}()
	answer(w)
}

func handleLate(w http.ResponseWriter, r *http.Request) {
	in := serving(r)
	go func() {
		time.Sleep(lateDelay)
		logFailure(fresh(in))
	}()
	answer(w)
}

func handleAfterFunc(w http.ResponseWriter, r *http.Request) {
	in := serving(r)
	result := make(chan error)
	time.AfterFunc(timerDelay, func() { result <- fresh(in) })
	answer(w, <-result)
}

// The client gets no answer: the connection breaks. Of all panics this one is not logged.
func handlePanic(_ http.ResponseWriter, r *http.Request) {
	logFailure(fresh(serving(r)))
	panic(http.ErrAbortHandler)
}

func randomSleep() time.Duration { return time.Duration(rand.Int63n(int64(maxSleep))) }

func answer(w http.ResponseWriter, results ...error) {
	for _, err := range results {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	io.WriteString(w, "ok\n")
}

// Of a call whose request cannot be told.
func logFailure(err error) {
	if err != nil {
		log.Print(err)
	}
}
