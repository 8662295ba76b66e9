// Downstream: an HTTP, HTTPS (HTTP/1.1 and HTTP/2) and raw TCP server that logs both ends of the connection of
// every request.
//
// Its log is the ground truth of the tests: X-Request-Path says which inbound request of the caller sent this,
// `peer` is the caller's end of the connection as the kernel reports it here. A line is written with one
// write(2) before the answer is sent, so a caller that has its answer finds the line, and kill -9 loses none.
package main

import (
	"context"
	"crypto/tls"
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
	"syscall"
	"time"

	"flowtag.test/certificate"
)

const stopTimeout = 2 * time.Second

// What the caller says about itself: in headers, or as the line of the raw protocol.
type caller struct {
	RequestPath     string `json:"requestPath"`
	CallerFunction  string `json:"callerFunction"`
	CallerFile      string `json:"callerFile"`
	CallerLine      int    `json:"callerLine"`
	HandlerFunction string `json:"handlerFunction"`
	Traceparent     string `json:"traceparent"`
}

type entry struct {
	Time   time.Time `json:"time"`
	Proto  string    `json:"proto"`
	Local  string    `json:"local"`
	Peer   string    `json:"peer"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Host   string    `json:"host"`
	caller
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0",
		"address to serve HTTP on (its port on [::1] too, where there is one); TLS and raw get other ports of its host")
	logFile := flag.String("log", "", "file that gets one JSON line per request (default: stdout)")
	exitOnStdinClose := flag.Bool("exit-on-stdin-close", false, "end with the process that holds our stdin")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("downstream: ")

	truth := truthLog{out: os.Stdout}
	if *logFile != "" {
		file, err := os.OpenFile(*logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		truth.out = file
	}
	plain, err := listenBoth(*listen)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := certificate.SelfSigned()
	if err != nil {
		log.Fatal(err)
	}
	secure, raw := listenBeside(plain[0]), listenBeside(plain[0])
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *exitOnStdinClose {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}

	ready := map[string]any{
		"listen": plain[0].Addr().String(),
		"tls":    secure.Addr().String(),
		"raw":    raw.Addr().String(),
		"pid":    os.Getpid(),
	}
	if len(plain) > 1 {
		ready["listen6"] = plain[1].Addr().String()
	}
	json.NewEncoder(os.Stdout).Encode(ready)

	server := &http.Server{
		Handler:           &truth,
		ReadHeaderTimeout: 10 * time.Second,
		// Named here, because Serve on the plain listener decides for all whether there is HTTP/2.
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
	}
	for _, listener := range plain {
		go func(listener net.Listener) { mustServe(server.Serve(listener)) }(listener)
	}
	go func() { mustServe(server.ServeTLS(secure, "", "")) }()
	go truth.serveRaw(raw)
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	server.Shutdown(deadline)
}

func mustServe(err error) {
	if !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
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

func listenBeside(other net.Listener) net.Listener {
	host, _, _ := net.SplitHostPort(other.Addr().String())
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		log.Fatal(err)
	}
	return listener
}
