// Demo target: a small HTTP server that calls a downstream HTTP service while it handles a request.
//
// Every outbound call opens a new TCP connection and carries X-Request-Path, the inbound path and query, so
// that the log of the downstream tells which request caused which connection, without any tracing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	maxSleep     = 10 * time.Second
	maxBodyBytes = 64 << 10
	stopTimeout  = 2 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	downstream := flag.String("downstream", "", "base URL of the service to call, http://127.0.0.1:PORT")
	dialAtStart := flag.Int("dial-at-start", 0, "call the downstream this often at once before serving, for no request")
	exitOnStdinClose := flag.Bool("exit-on-stdin-close", false, "end with the process that holds our stdin")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("demo: ")

	target, err := url.Parse(*downstream)
	if err != nil || target.Scheme != "http" || target.Port() == "" {
		log.Printf("-downstream %q is not of the form http://HOST:PORT", *downstream)
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *exitOnStdinClose {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}

	dialForNobody(caller{target}, *dialAtStart)
	server := &http.Server{Handler: routes(caller{target}), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	go func() {
		<-ctx.Done()
		deadline, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		server.Shutdown(deadline)
		close(stopped)
	}()
	json.NewEncoder(os.Stdout).Encode(map[string]any{"listen": listener.Addr().String(), "pid": os.Getpid()})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

// Each pattern also answers below itself (/echo/17), so that a test can give every request its own path.
func routes(downstream caller) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, handler)
		mux.HandleFunc(pattern+"/", handler)
	}
	handle("/health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	handle("/echo", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) { return downstream.call(r, downstream.url.Host) })
	})
	handle("/work", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(sleepOf(r))
		answer(w, func() (string, error) { return downstream.call(r, downstream.url.Host) })
	})
	handle("/nested", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) {
			return inGoroutines(3, func() (string, error) { return downstream.call(r, downstream.url.Host) })
		})
	})
	// A new program in the same process: its goroutine ids begin again.
	handle("/exec", func(w http.ResponseWriter, r *http.Request) {
		arguments := []string{os.Args[0], "-downstream", downstream.url.String(), "-dial-at-start", "300"}
		http.Error(w, syscall.Exec("/proc/self/exe", arguments, os.Environ()).Error(), http.StatusInternalServerError)
	})
	handle("/v6", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) {
			return downstream.call(r, net.JoinHostPort("::1", downstream.url.Port()))
		})
	})
	return mux
}

func dialForNobody(downstream caller, times int) {
	var done sync.WaitGroup
	for i := 0; i < times; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			inbound := &http.Request{URL: &url.URL{Path: "/nobody"}}
			if _, err := downstream.call(inbound, downstream.url.Host); err != nil {
				log.Print(err)
			}
		}()
	}
	done.Wait()
}

func answer(w http.ResponseWriter, call func() (string, error)) {
	text, err := call()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	io.WriteString(w, text)
}

// Requests that wait before they dial interleave: attribution by process or by thread goes wrong there.
func sleepOf(r *http.Request) time.Duration {
	if text := r.URL.Query().Get("sleepMs"); text != "" {
		ms, err := strconv.Atoi(text)
		if err == nil && ms >= 0 && time.Duration(ms)*time.Millisecond <= maxSleep {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return time.Duration(rand.Int63n(int64(20 * time.Millisecond)))
}

func inGoroutines(depth int, call func() (string, error)) (text string, err error) {
	if depth == 0 {
		return call()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err = inGoroutines(depth-1, call)
	}()
	<-done
	return text, err
}

type caller struct{ url *url.URL }

// Without keep-alives each call is one connection: the simplest ground truth there is.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

func (c caller) call(inbound *http.Request, host string) (string, error) {
	target := *c.url
	target.Host = host
	target.Path = "/hello"
	request, err := http.NewRequestWithContext(inbound.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("X-Request-Path", inbound.URL.RequestURI())
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBodyBytes))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("downstream answered %s", response.Status)
	}
	return string(text), err
}
