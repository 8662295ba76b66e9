// Bench: what test/bench measures with.
//
//	bench serve [-downstream URL]        HTTP server: /noop, /pool and /fresh (the last two call the downstream)
//	bench load -url URL [-url URL] ...   drives servers at once, at one fixed rate or as fast as they answer
//
// The server does as little as a server can, so that what a probe adds stands out.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			exitOn(serve(os.Args[2:]))
			return
		case "load":
			exitOn(load(os.Args[2:]))
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: bench serve|load [flags]; bench serve -h shows them")
	os.Exit(2)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to serve on")
	downstream := flags.String("downstream", "", "URL that /pool and /fresh call")
	flags.Parse(args)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/noop/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	// More idle connections than the load has clients: the pool never dials once it is warm.
	mux.Handle("/pool/", calling(*downstream, &http.Transport{MaxIdleConnsPerHost: 2 * maxClients}))
	mux.Handle("/fresh/", calling(*downstream, &http.Transport{DisableKeepAlives: true}))
	ready := map[string]any{"listen": listener.Addr().String(), "pid": os.Getpid()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return http.Serve(listener, mux)
}

func calling(url string, transport *http.Transport) http.Handler {
	client := http.Client{Transport: transport}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := get(&client, url); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.WriteString(w, "ok\n")
	})
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
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
