// Workers: an HTTP server whose handlers hand their work to other goroutines through channels. Each case is a way of doing
// so, or of using a channel for something else. One runs at a time; its path answers below itself (/buffered/17).
//
// Each outbound call carries X-Request-Path, the path of the request that it is made for; calls for no request
// carry /nobody. So the log of the downstream tells which request caused which call, without any tracing.
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
	"syscall"
	"time"
)

const (
	nobody      = "/nobody"
	callTimeout = 20 * time.Second
	stopTimeout = 2 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	downstream := flag.String("downstream", "", "base URL of the service to call, http://127.0.0.1:PORT")
	name := flag.String("case", "", "the path to serve, /buffered; the others are not there, nor are their goroutines")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("workers: ")

	start, ok := cases[*name]
	if !ok {
		log.Fatalf("-case %q is none of those in cases.go", *name)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc(*name+"/", answering(start(*downstream+"/hello")))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
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

func answering(handle func(path string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := handle(r.URL.Path); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.WriteString(w, "ok\n")
	}
}

// Calls the downstream for the request of that path, each time on a connection of its own: the simplest ground truth.
func fresh(url string) func(path string) error {
	return calling(url, &http.Transport{DisableKeepAlives: true})
}

func pooled(url string) func(path string) error {
	return calling(url, &http.Transport{MaxIdleConnsPerHost: 32})
}

// As fresh, by the calling goroutine itself: net/http has one of its own dial and write.
func raw(url string) func(path string) error {
	return func(path string) error {
		request, err := newRequest(url, path)
		if err != nil {
			return err
		}
		request.Close = true
		connection, err := net.DialTimeout("tcp", request.URL.Host, callTimeout)
		if err != nil {
			return err
		}
		defer connection.Close()
		if err := request.Write(connection); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, connection)
		return err
	}
}

func calling(url string, transport *http.Transport) func(path string) error {
	client := http.Client{Transport: transport, Timeout: callTimeout}
	return func(path string) error {
		request, err := newRequest(url, path)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
}

func newRequest(url, path string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err == nil {
		request.Header.Set("X-Request-Path", path)
	}
	return request, err
}
