package main

import (
	"net/http"
	"sync"
)

const workerCount = 64

// Goroutines that serve the jobs of many requests, handed to them through an unbuffered channel.
type workers struct {
	jobs  chan job
	start sync.Once
}

type job struct {
	in   inbound
	done chan error
}

func newWorkers() *workers { return &workers{jobs: make(chan job)} }

// ServeHTTP starts the workers on the first request, unless they run already.
func (w *workers) ServeHTTP(writer http.ResponseWriter, r *http.Request) {
	w.run()
	work := job{serving(r), make(chan error)}
	w.jobs <- work
	answer(writer, <-work.done)
}

func (w *workers) run() {
	w.start.Do(func() {
		for i := 0; i < workerCount; i++ {
			go w.work()
		}
	})
}

func (w *workers) work() {
	for job := range w.jobs {
		err := fresh(job.in)
		if err == nil {
			err = job.in.pooled()
		}
		job.done <- err
	}
}
