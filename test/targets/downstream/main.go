// Downstream: an HTTP server that logs both ends of the connection of every request.
//
// Its log is the ground truth of the tests: X-Request-Path says which inbound request of the caller sent this,
// `peer` is the caller's end of the connection as the kernel reports it here. A line is written with one
// write(2) before the answer is sent, so a caller that has its answer finds the line, and kill -9 loses none.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const stopTimeout = 2 * time.Second

type entry struct {
	Time        time.Time `json:"time"`
	Local       string    `json:"local"`
	Peer        string    `json:"peer"`
	Method      string    `json:"method"`
	Path        string    `json:"path"`
	RequestPath string    `json:"requestPath"`
	Host        string    `json:"host"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on; its port on [::1] too, where there is one")
	logFile := flag.String("log", "", "file that gets one JSON line per request (default: stdout)")
	exitOnStdinClose := flag.Bool("exit-on-stdin-close", false, "end with the process that holds our stdin")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("downstream: ")

	truth := os.Stdout
	if *logFile != "" {
		file, err := os.OpenFile(*logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		truth = file
	}
	listeners, err := listenBoth(*listen)
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

	ready := map[string]any{"listen": listeners[0].Addr().String(), "pid": os.Getpid()}
	if len(listeners) > 1 {
		ready["listen6"] = listeners[1].Addr().String()
	}
	json.NewEncoder(os.Stdout).Encode(ready)

	server := &http.Server{Handler: logged(truth), ReadHeaderTimeout: 10 * time.Second}
	for _, listener := range listeners {
		go func(listener net.Listener) {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				log.Fatal(err)
			}
		}(listener)
	}
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	server.Shutdown(deadline)
}

func logged(out io.Writer) http.Handler {
	var writing sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line, err := json.Marshal(entry{
			Time:        time.Now(),
			Local:       r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(),
			Peer:        r.RemoteAddr,
			Method:      r.Method,
			Path:        r.URL.Path,
			RequestPath: r.Header.Get("X-Request-Path"),
			Host:        r.Host,
		})
		if err == nil {
			writing.Lock()
			_, err = out.Write(append(line, '\n'))
			writing.Unlock()
		}
		if err != nil {
			// A request without its line would falsify every figure: no answer, and the test sees it.
			log.Fatal(err)
		}
		io.WriteString(w, "hello\n")
	})
}

// The same port on [::1] lets one URL serve both families. With port 0 the one that IPv4 got may be taken
// on IPv6, so a few are tried; a host without IPv6 gets one listener.
func listenBoth(address string) ([]net.Listener, error) {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		first, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		bound := first.Addr().(*net.TCPAddr)
		if bound.IP.To4() == nil || !bound.IP.IsLoopback() {
			return []net.Listener{first}, nil
		}
		second, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(bound.Port)))
		if err == nil {
			return []net.Listener{first, second}, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || attempt == attempts {
			return []net.Listener{first}, nil
		}
		first.Close()
	}
}
