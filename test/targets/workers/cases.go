package main

import (
	"sync"
	"time"
)

const poolSize = 16

type job struct {
	path string
	done chan error
}

// By path. Each gets the URL to call and gives what handles a request.
var cases = map[string]func(url string) func(path string) error{
	// Pools whose workers run before any request comes.
	"/unbuffered": func(url string) func(string) error { return through(startPool(0, poolSize, fresh(url))) },
	"/buffered":   func(url string) func(string) error { return through(startPool(1024, poolSize, fresh(url))) },
	"/saturated":  func(url string) func(string) error { return through(startPool(4, 3, fresh(url))) },
	"/pooled":     func(url string) func(string) error { return through(startPool(64, poolSize, pooled(url))) },
	"/raw":        func(url string) func(string) error { return through(startPool(64, poolSize, raw(url))) },
	"/select":     func(url string) func(string) error { return through(startSelecting(fresh(url))) },
	"/token-job":  func(url string) func(string) error { return through(startPool(64, poolSize, withTokens(fresh(url)))) },
	"/lazy":       func(url string) func(string) error { return lazily(fresh(url)) },
	// Workers that also do something for nobody, or for somebody who cannot be seen.
	"/mixed":   func(url string) func(string) error { return through(startMixed(fresh(url))) },
	"/waking":  func(url string) func(string) error { return through(startWaking(fresh(url))) },
	"/ticking": func(url string) func(string) error { return through(startTicking(fresh(url))) },
	"/numbers": func(url string) func(string) error { return numbered(fresh(url)) },
	// Requests that receive from goroutines of others.
	"/semaphore": func(url string) func(string) error { return limited(make(chan struct{}, 4), struct{}{}, fresh(url)) },
	"/token":     func(url string) func(string) error { return limited(make(chan int, 4), 7, fresh(url)) },
	"/resource":  func(url string) func(string) error { return limited(make(chan *string, 4), new(string), fresh(url)) },
	"/result": func(url string) func(string) error {
		return collecting(through(startPool(8, poolSize, func(string) error { return nil })), fresh(url))
	},
	"/fanout":   func(url string) func(string) error { return fanout(fresh(url)) },
	"/shared":   func(url string) func(string) error { return fanout(pooled(url)) },
	"/notified": func(url string) func(string) error { return notified(fresh(url)) },
}

func through(jobs chan job) func(string) error {
	return func(path string) error {
		work := job{path, make(chan error)}
		jobs <- work
		return <-work.done
	}
}

func startPool(size, workers int, call func(string) error) chan job {
	jobs := make(chan job, size)
	for i := 0; i < workers; i++ {
		go work(jobs, call)
	}
	return jobs
}

func work(jobs chan job, call func(string) error) {
	for job := range jobs {
		job.done <- call(job.path)
	}
}

func startSelecting(call func(string) error) chan job {
	jobs, others, quit := make(chan job, 4), make(chan job), make(chan struct{})
	go func() { // moves half of the jobs from one channel to the other; another goroutine than the one that put them there
		for job := range jobs {
			others <- job
		}
	}()
	for i := 0; i < poolSize; i++ {
		go func() {
			for {
				select {
				case job := <-jobs:
					job.done <- call(job.path)
				case job := <-others:
					job.done <- call(job.path)
				case <-quit:
					return
				}
			}
		}()
	}
	return jobs
}

// Started by the first request, whose goroutine is the parent of the workers.
func lazily(call func(string) error) func(string) error {
	jobs := make(chan *job, 8)
	var start sync.Once
	return func(path string) error {
		start.Do(func() {
			for i := 0; i < poolSize; i++ {
				go func() {
					for job := range jobs {
						job.done <- call(job.path)
					}
				}()
			}
		})
		work := &job{path, make(chan error)}
		jobs <- work
		return <-work.done
	}
}

// A job that waits for a token, which other jobs have had before.
func withTokens(call func(string) error) func(string) error {
	tokens, slots := make(chan bool, 4), make(chan struct{}, 4)
	for i := 0; i < cap(tokens); i++ {
		tokens <- true
	}
	return func(path string) error {
		slots <- struct{}{}
		token := <-tokens
		time.Sleep(time.Millisecond)
		err := call(path)
		tokens <- token
		<-slots
		return err
	}
}

// Every job is followed by one that no request asked for.
func startMixed(call func(string) error) chan job {
	jobs, idle := startPool(16, 4, call), make(chan error, 16)
	go func() {
		for {
			jobs <- job{nobody, idle}
			<-idle
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return jobs
}

func startWaking(call func(string) error) chan job {
	jobs, wake := make(chan job, 4), make(chan struct{})
	for i := 0; i < 4; i++ {
		go func() {
			for {
				select {
				case job := <-jobs:
					job.done <- call(job.path)
				case <-wake:
					call(nobody)
				}
			}
		}()
	}
	go func() {
		for {
			wake <- struct{}{}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return jobs
}

func startTicking(call func(string) error) chan job {
	jobs := make(chan job, 4)
	for i := 0; i < 4; i++ {
		go func() {
			ticks := time.NewTicker(5 * time.Millisecond)
			for {
				select {
				case job := <-jobs:
					job.done <- call(job.path)
				case <-ticks.C:
					call(nobody)
				}
			}
		}()
	}
	return jobs
}

// Workers that get some jobs as numbers: who asked for these cannot be seen.
func numbered(call func(string) error) func(string) error {
	var waiting sync.Map
	numbers, jobs := make(chan int, 4), make(chan job, 4)
	for i := 0; i < 4; i++ {
		go func() {
			for {
				select {
				case job := <-jobs:
					job.done <- call(job.path)
				case number := <-numbers:
					value, _ := waiting.LoadAndDelete(number)
					work := value.(job)
					work.done <- call(work.path)
				}
			}
		}()
	}
	var next struct {
		sync.Mutex
		number int
	}
	return func(path string) error {
		next.Lock()
		next.number++
		number := next.number
		next.Unlock()
		work := job{path, make(chan error)}
		if number%2 == 0 {
			jobs <- work
		} else {
			waiting.Store(number, work)
			numbers <- number
		}
		return <-work.done
	}
}

// Two goroutines of each request, which take turns with those of other requests.
func limited[T any](tokens chan T, token T, call func(string) error) func(string) error {
	for i := 0; i < cap(tokens); i++ {
		tokens <- token
	}
	return func(path string) error {
		first := <-tokens // the request's own goroutine
		err := call(path)
		tokens <- first
		failed := make(chan error, 2)
		for i := 0; i < 2; i++ {
			go func() {
				token := <-tokens
				err := call(path)
				tokens <- token
				failed <- err
			}()
		}
		for i := 0; i < 2; i++ {
			if e := <-failed; e != nil {
				err = e
			}
		}
		return err
	}
}

// The results come back through channels, and then the request goes on by itself.
func collecting(serve, call func(string) error) func(string) error {
	return func(path string) error {
		if err := serve(path); err != nil {
			return err
		}
		if err := call(path); err != nil {
			return err
		}
		done := make(chan error)
		go func() {
			if err := serve(path); err != nil {
				done <- err
				return
			}
			done <- call(path)
		}()
		return <-done
	}
}

func fanout(call func(string) error) func(string) error {
	return func(path string) error {
		results, sum := make(chan error, 1), make(chan error)
		for i := 0; i < 3; i++ {
			go func() { results <- call(path) }()
		}
		go func() { // collects, then calls itself
			for i := 0; i < 3; i++ {
				if err := <-results; err != nil {
					sum <- err
					return
				}
			}
			sum <- call(path)
		}()
		return <-sum
	}
}

// One goroutine tells all requests to go on: the first of them through a value of another request.
func notified(call func(string) error) func(string) error {
	news := make(chan *string)
	go func() {
		for {
			news <- new(string)
		}
	}()
	return func(path string) error {
		<-news
		go func() { news <- &path }() // for whoever waits next
		text := <-news
		if err := call(path); err != nil {
			return err
		}
		done := make(chan error)
		go func() {
			text = <-news
			done <- call(path)
		}()
		err := <-done
		_ = text
		return err
	}
}
