package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// It answers every request, after it has logged it.
type truthLog struct {
	out     io.Writer
	writing sync.Mutex
}

func (t *truthLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		log.Print(err)
		return
	}
	line, _ := strconv.Atoi(r.Header.Get("X-Caller-Line"))
	t.write(entry{
		Time:   time.Now(),
		Proto:  r.Proto,
		Local:  r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(),
		Peer:   r.RemoteAddr,
		Method: r.Method,
		Path:   r.URL.Path,
		Host:   r.Host,
		caller: caller{
			RequestPath:     r.Header.Get("X-Request-Path"),
			CallerFunction:  r.Header.Get("X-Caller-Function"),
			CallerFile:      r.Header.Get("X-Caller-File"),
			CallerLine:      line,
			HandlerFunction: r.Header.Get("X-Handler-Function"),
			Traceparent:     r.Header.Get("X-Traceparent"),
		},
	})
	io.WriteString(w, "hello\n")
}

// The raw protocol: one JSON line as a request, `ok` as its answer, over and over.
func (t *truthLog) serveRaw(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go t.serveLines(connection)
	}
}

func (t *truthLog) serveLines(connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection) // of at most 64 KiB
	for lines.Scan() {
		line := entry{
			Time:  time.Now(),
			Proto: "raw",
			Local: connection.LocalAddr().String(),
			Peer:  connection.RemoteAddr().String(),
		}
		if err := json.Unmarshal(lines.Bytes(), &line.caller); err != nil {
			log.Printf("raw line from %s: %v", line.Peer, err)
			return
		}
		t.write(line)
		if _, err := io.WriteString(connection, "ok\n"); err != nil {
			return
		}
	}
}

func (t *truthLog) write(line entry) {
	text, err := json.Marshal(line)
	if err == nil {
		t.writing.Lock()
		_, err = t.out.Write(append(text, '\n'))
		t.writing.Unlock()
	}
	if err != nil {
		// A request without its line would falsify every figure: no answer, and the test sees it.
		log.Fatal(err)
	}
}
