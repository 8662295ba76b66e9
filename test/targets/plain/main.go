// Plain: a Go program without net/http. A tracer of HTTP servers must refuse it with a clear reason.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	exitOnStdinClose := flag.Bool("exit-on-stdin-close", false, "end with the process that holds our stdin")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if *exitOnStdinClose {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop <- syscall.SIGTERM
		}()
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"pid": os.Getpid()})
	<-stop
}
