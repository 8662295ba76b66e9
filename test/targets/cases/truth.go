package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strconv"
)

// What an outbound call tells the downstream about itself.
type truth struct {
	RequestPath     string `json:"requestPath"`
	CallerFunction  string `json:"callerFunction"`
	CallerFile      string `json:"callerFile"`
	CallerLine      int    `json:"callerLine"`
	HandlerFunction string `json:"handlerFunction"`
	Traceparent     string `json:"traceparent"`
}

// The inbound request that a case works for; empty for work that no request asked for.
type inbound struct{ path, traceparent, handler string }

// serving must be called by the function that net/http called.
func serving(r *http.Request) inbound {
	return inbound{r.URL.RequestURI(), r.Header.Get("Traceparent"), frameAbove(1).Function}
}

// callOnNextLine is the truth about a call that the caller makes on its very next line: the runtime knows the line
// of this one only.
func (in inbound) callOnNextLine() truth { return in.nextLineOf(frameAbove(1)) }

// requestOnNextLine is the same for a call by HTTP.
func (in inbound) requestOnNextLine(method, url string, body io.Reader) *http.Request {
	return in.nextLineOf(frameAbove(1)).request(method, url, body)
}

func (in inbound) nextLineOf(frame runtime.Frame) truth {
	frame.Line++
	return in.callAt(frame)
}

func (in inbound) callAt(frame runtime.Frame) truth {
	return truth{in.path, frame.Function, frame.File, frame.Line, in.handler, in.traceparent}
}

// The frame above the function that asks, `skip` further out.
func frameAbove(skip int) runtime.Frame {
	pcs := make([]uintptr, 2) // until Go 1.20 a skipped inlined function takes one
	runtime.Callers(skip+2, pcs)
	frame, _ := runtime.CallersFrames(pcs).Next()
	return frame
}

type truthKey struct{}

// The context has no connection to the inbound one: before Go 1.23 the end of the inbound request would cancel
// dials that are still under way, and the dial log could not say their local end.
func (t truth) request(method, url string, body io.Reader) *http.Request {
	request, err := http.NewRequestWithContext(context.WithValue(context.Background(), truthKey{}, t), method, url, body)
	if err != nil {
		panic(err) // a bug: the URLs were made from listening addresses
	}
	request.Header.Set("X-Request-Path", t.RequestPath)
	request.Header.Set("X-Caller-Function", t.CallerFunction)
	request.Header.Set("X-Caller-File", t.CallerFile)
	request.Header.Set("X-Caller-Line", strconv.Itoa(t.CallerLine))
	request.Header.Set("X-Handler-Function", t.HandlerFunction)
	request.Header.Set("X-Traceparent", t.Traceparent)
	return request
}

// The line of the raw protocol.
func (t truth) line() []byte {
	var line bytes.Buffer
	json.NewEncoder(&line).Encode(t)
	return line.Bytes()
}
