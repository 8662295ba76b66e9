package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
)

const (
	limitedConnections = 16
	maxIdlePerHost     = 4_096 // so that no pool of a test closes a connection
	answerTimeout      = 20 * time.Second
	bodyBytes          = 20_000
)

// The downstream and the ways to it; set before the first request.
var (
	plainURL, plainURL6, dualURL, tlsURL, refusedURL string

	dials                                            = &dialLog{out: io.Discard}
	freshClient, poolClient, limitClient, dualClient *http.Client
	tlsClient, h2Client, refusedClient               *http.Client
	raws                                             *rawPool
)

func reach(downstream, downstreamTLS, downstreamRaw, refused string) {
	_, port, _ := net.SplitHostPort(downstream)
	plainURL, tlsURL, refusedURL = "http://"+downstream+"/hello", "https://"+downstreamTLS+"/hello", "http://"+refused
	plainURL6, dualURL = "http://[::1]:"+port+"/hello", "http://dual.test:"+port+"/hello"
	raws = newRawPool(downstreamRaw)

	freshClient = client(func(t *http.Transport) { t.DisableKeepAlives = true })
	poolClient = client(func(*http.Transport) {})
	limitClient = client(func(t *http.Transport) { t.MaxConnsPerHost = limitedConnections })
	tlsClient = client(func(t *http.Transport) {
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{} // not nil: no HTTP/2
	})
	h2Client = client(func(t *http.Transport) { t.ForceAttemptHTTP2 = true })
	watched := func(t *http.Transport) {
		t.DisableKeepAlives = true
		t.DialContext = dials.attemptContext
	}
	dualClient, refusedClient = client(watched), client(watched)
}

// No Client.Timeout: it is a context, whose end would cancel dials (truth.request says why that must not be).
func client(configure func(*http.Transport)) *http.Client {
	transport := &http.Transport{
		DialContext:           dials.dialContext,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true},
		TLSHandshakeTimeout:   answerTimeout,
		ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost:   maxIdlePerHost,
	}
	configure(transport)
	return &http.Client{Transport: transport}
}

// The calls below are functions of several kinds, each of which makes its call itself.

func fresh(in inbound) error {
	request := in.requestOnNextLine(http.MethodGet, plainURL, nil)
	return finish(freshClient.Do(request))
}

// A method.
func (in inbound) pooled() error {
	request := in.requestOnNextLine(http.MethodGet, plainURL, nil)
	response, err := poolClient.Do(request)
	return finish(response, err)
}

func freshTo(in inbound, client *http.Client, url string) error {
	request := in.requestOnNextLine(http.MethodGet, url, nil)
	response, err := client.Do(request)
	return finish(response, err)
}

// A generic function.
func post[B ~string | ~[]byte](in inbound, client *http.Client, url string, body B) error {
	request := in.requestOnNextLine(http.MethodPost, url, strings.NewReader(string(body)))
	response, err := client.Do(request)
	return finish(response, err)
}

// Small enough to be inlined: too small to ask the runtime for its own frame, so `getFrame` was asked beforehand.
func get(transport http.RoundTripper, request *http.Request) (*http.Response, error) {
	return transport.RoundTrip(request)
}

func viaGet(in inbound, client *http.Client, url string) error {
	return finish(get(client.Transport, in.callAt(getFrame).request(http.MethodGet, url, nil)))
}

var getFrame = frameOfGet()

// The frame of `get` as the runtime names it to a RoundTripper that it calls.
func frameOfGet() (found runtime.Frame) {
	get(roundTripper(func() {
		pcs := make([]uintptr, 32)
		frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs)])
		for more := true; more && found.Function != "main.get"; {
			found, more = frames.Next()
		}
	}), truth{}.request(http.MethodGet, "http://nowhere", nil))
	if found.Function != "main.get" {
		panic("no frame of main.get")
	}
	return found
}

type roundTripper func()

func (called roundTripper) RoundTrip(*http.Request) (*http.Response, error) {
	called()
	return nil, errors.New("no answer")
}

func finish(response *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("downstream answered %s", response.Status)
	}
	return nil
}

// warm opens n connections of each pool: an answer that is not read keeps its connection out of the pool.
func warm(n int) error {
	pools := []struct {
		client *http.Client
		url    string
		n      int
	}{{poolClient, plainURL, n}, {limitClient, plainURL, min(n, limitedConnections)}, {tlsClient, tlsURL, n}, {h2Client, tlsURL, min(n, 1)}}
	for _, pool := range pools {
		held := make([]*http.Response, pool.n)
		for i := range held {
			response, err := get(pool.client.Transport, inbound{}.callAt(getFrame).request(http.MethodGet, pool.url, nil))
			if err != nil {
				return err
			}
			held[i] = response
		}
		for _, response := range held {
			if err := finish(response, nil); err != nil {
				return err
			}
		}
	}
	return raws.warm(n)
}

// Go has its own from 1.21.
func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
