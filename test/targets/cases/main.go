// Cases: an HTTP server with a path for each way in which a request can come to use an outbound connection.
//
// The inbound path and query are the identity of a request. Every outbound call says in headers (or in its line of
// the raw protocol) for which request, by which function and on which line it is made; the dial log says which
// request caused which connection. Both together are the ground truth of attribution, without any tracing.
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
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"flowtag.test/certificate"
)

const (
	maxIdleGoroutines = 1_000_000
	profileHz         = 1_000
	stopTimeout       = 2 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	serveTLS := flag.Bool("tls", false, "serve HTTP/2 and HTTP/1.1 over TLS, too, on a port of its own on 127.0.0.1")
	downstream := flag.String("downstream", "", "HOST:PORT to call by HTTP")
	downstreamTLS := flag.String("downstream-tls", "", "HOST:PORT to call by HTTPS")
	downstreamRaw := flag.String("downstream-raw", "", "HOST:PORT of the raw protocol")
	dialLogFile := flag.String("log", "", "file that gets one JSON line per dial")
	idle := flag.Int("idle-goroutines", 0, "goroutines that do nothing")
	warmConnections := flag.Int("warm", 0, "connections of each pool to open before serving")
	profile := flag.String("cpuprofile", "", "file for a CPU profile, written at SIGTERM")
	exitOnStdinClose := flag.Bool("exit-on-stdin-close", false, "end with the process that holds our stdin")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("cases: ")
	if *downstream == "" || *downstreamTLS == "" || *downstreamRaw == "" ||
		*idle < 0 || *idle > maxIdleGoroutines || *warmConnections < 0 || *warmConnections > maxIdlePerHost {
		log.Printf("needs -downstream, -downstream-tls and -downstream-raw; -idle-goroutines up to %d, -warm up to %d",
			maxIdleGoroutines, maxIdlePerHost)
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *exitOnStdinClose {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	if *dialLogFile != "" {
		file, err := os.OpenFile(*dialLogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		check(err)
		dials.out = file
	}
	if *profile != "" {
		file, err := os.Create(*profile)
		check(err)
		// Ten times the usual samples, so that short functions get some, too; StartCPUProfile then complains on
		// stderr that it cannot set its own rate, and works.
		runtime.SetCPUProfileRate(profileHz)
		check(pprof.StartCPUProfile(file))
		defer pprof.StopCPUProfile()
	}
	refused, err := refusingAddress()
	check(err)
	reach(*downstream, *downstreamTLS, *downstreamRaw, refused)
	for i := 0; i < *idle; i++ {
		go func() { select {} }()
	}
	started := newWorkers()
	started.run() // before any request: none is their creator
	check(warm(*warmConnections))

	listener, err := net.Listen("tcp", *listen)
	check(err)
	cert, err := certificate.SelfSigned()
	check(err)
	server := &http.Server{
		Handler:           routes(started),
		ReadHeaderTimeout: 10 * time.Second,
		// Named here, because Serve on the plain listener decides for both whether there is HTTP/2.
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
	}
	ready := map[string]any{"listen": listener.Addr().String(), "refused": refused, "pid": os.Getpid()}
	if *serveTLS {
		secure, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		ready["tls"] = secure.Addr().String()
		go func() { mustServe(server.ServeTLS(secure, "", "")) }()
	}
	go func() { mustServe(server.Serve(listener)) }()
	json.NewEncoder(os.Stdout).Encode(ready)
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

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
