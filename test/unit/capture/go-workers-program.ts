// A Go program of goroutines that do or do not take work from a channel before they make a call, which tells the call
// stacks of those calls: as text offsets, each under the name of its case.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { GoBuilds } from './go-builds.ts';

const told = z.record(z.string(), z.array(z.array(z.number())));
export type ToldCases = z.infer<typeof told>;

/** In the order in which the program runs them; what the sources say about each. */
export const ROUNDS: Readonly<Record<string, 'channel' | 'loop' | 'once'>> = {
  'range over a channel': 'channel',
  'select in a loop': 'channel',
  'select with default in a loop': 'channel',
  'receive in a method': 'channel',
  'receive in a function of a function': 'channel',
  'receive in a module': 'channel',
  'generic worker': 'channel',
  'closure of a worker': 'channel',
  'method value as worker': 'channel',
  'iterator over a channel': 'channel',
  'queue with a condition': 'channel',
  'receive before a switch with a jump table': 'channel',
  'handler called by a worker': 'channel',
  'go statement of a dispatcher': 'channel',

  'one round in a function of its own': 'channel',

  'receive once': 'once', // for the request that started it
  'receive, value and ok': 'once',
  'receive through reflection': 'once',
  'deferred, after a recovered panic': 'once',
  'deferred, by a fault': 'loop', // a fault shows by its own address, as if the code had come to it again
  'connection out of a pool': 'once',
  'receive, then a loop of calls': 'loop',
  'straight call': 'once',
  'loop of calls': 'loop',
  'call, then select': 'once',
  'call, then receive': 'once',
  'call, then receive, then a panic that does not return': 'once',
  'call before the loop': 'once',
  'started for each job': 'once',
  'semaphore by sending': 'loop',
  'send with default': 'loop',
  'lock and wait group': 'once',
  'return after the receive': 'loop',
  'receive in the other branch': 'once',
  'result sent by a deferred call': 'once',
  'deferred, by a fault before the receive': 'loop',
  'goroutine of a goroutine, which waits for it': 'once',
  'permit of a semaphore': 'loop',
  'written to by the standard library': 'once', // which receives what it copies: its own frames are not examined
};

export async function writeWorkersProgram({ folder }: GoBuilds): Promise<void> {
  const files = {
    'go.mod': GO_MOD,
    'main.go': MAIN,
    'frame_amd64.s': FRAME,
    'queue/go.mod': 'module queue.example/q\n\ngo 1.19\n',
    'queue/queue.go': QUEUE,
    'sync/go.mod': 'module golang.org/x/sync\n\ngo 1.19\n',
    'sync/semaphore/semaphore.go': SEMAPHORE,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

export async function casesOf(go: GoBuilds, executable: string): Promise<ToldCases> {
  return told.parse(JSON.parse(await go.run(executable, [])));
}

const GO_MOD = `module example.org/receives

go 1.19

require (
	golang.org/x/sync v0.0.0
	queue.example/q v0.0.0
)

replace (
	golang.org/x/sync => ./sync
	queue.example/q => ./queue
)
`;

const FRAME = `#include "textflag.h"

// func framePointer() *frame
TEXT ·framePointer(SB), NOSPLIT, $0-8
	MOVQ BP, ret+0(FP)
	RET
`;

/** Not the real one: what matters is its name, and that it receives. */
const SEMAPHORE = `package semaphore

type Weighted struct{ C chan struct{} }

//go:noinline
func (s *Weighted) Acquire() { <-s.C }
`;

const QUEUE = `package q

type Queue[T any] struct{ c chan T }

func New[T any](items ...T) *Queue[T] {
	q := &Queue[T]{make(chan T, len(items))}
	for _, item := range items {
		q.c <- item
	}
	close(q.c)
	return q
}

//go:noinline
func (q *Queue[T]) Next() (T, bool) {
	item, ok := <-q.c
	return item, ok
}

// Work runs on the caller's goroutine.
func (q *Queue[T]) Work(f func(T)) {
	for item := range q.c {
		f(item)
	}
}

func (q *Queue[T]) All() func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for item := range q.c {
			if !yield(item) {
				return
			}
		}
	}
}
`;

const MAIN = `package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
	"queue.example/q"
)

type job struct {
	name string
	kind int
}

var (
	start  uint64
	lock   sync.Mutex
	stacks = map[string][][]uint64{}
	out    = make(chan int, 1000)
	done   = make(chan struct{}, 1000)
	sem    = make(chan struct{}, 1000)
	sink   [4]int
)

type frame struct {
	caller        *frame
	returnAddress uint64
}

func framePointer() *frame

// What an HTTP client is elsewhere. Tells the stack as the kernel side sees it: runtime.Callers would add those of
// inlined calls.
//
//go:noinline
func call(name string) int {
	var addresses [100]uint64
	count := 0
	for f := framePointer(); f != nil && count < len(addresses); f = f.caller {
		addresses[count] = f.returnAddress
		count++
	}
	var stack []uint64
	for _, address := range addresses[:count] {
		stack = append(stack, address-start)
	}
	keep(name, stack)
	return count
}

func keep(name string, stack []uint64) {
	lock.Lock()
	defer lock.Unlock()
	stacks[name] = append(stacks[name], stack)
}

// Where the goroutine that calls this was started: the stack that the kernel side links to its own.
//
//go:noinline
func creator(name string, entry uintptr) {
	text := make([]byte, 4096)
	text = text[:runtime.Stack(text, false)]
	offset, err := strconv.ParseUint(string(bytes.TrimSpace(text[bytes.LastIndex(text, []byte("+0x"))+3:])), 16, 64)
	if err != nil {
		panic(err)
	}
	keep(name, []uint64{uint64(entry) + offset - start})
}

// Runs f as the body of a goroutine, to its end.
func run(f func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	<-ended
}

func jobs(name string) chan job {
	c := make(chan job, 2)
	c <- job{name, 1}
	c <- job{name, 2}
	close(c)
	return c
}

//go:noinline
func rangeWorker(c chan job) {
	for j := range c {
		call(j.name)
	}
}

//go:noinline
func once(c chan job) {
	j := <-c
	call(j.name)
}

//go:noinline
func valueAndOk(c chan job) {
	if j, ok := <-c; ok {
		call(j.name)
	}
}

//go:noinline
func selectWorker(c chan job, quit chan struct{}) {
	for {
		select {
		case j, ok := <-c:
			if !ok {
				return
			}
			call(j.name)
		case <-quit:
			return
		}
	}
}

//go:noinline
func pollingWorker(c chan job) {
	for {
		select {
		case j, ok := <-c:
			if !ok {
				return
			}
			call(j.name)
		default:
			runtime.Gosched()
		}
	}
}

type pool struct {
	c    chan job
	lock sync.Mutex
	cond *sync.Cond
	list []job
}

//go:noinline
func (p *pool) next() (job, bool) {
	j, ok := <-p.c
	return j, ok
}

//go:noinline
func (p *pool) nextNamed() (string, bool) {
	j, ok := p.next()
	return j.name, ok
}

//go:noinline
func (p *pool) work() {
	for {
		j, ok := p.next()
		if !ok {
			return
		}
		call(j.name)
	}
}

//go:noinline
func (p *pool) workDeeply() {
	for {
		name, ok := p.nextNamed()
		if !ok {
			return
		}
		call(name)
	}
}

//go:noinline
func (p *pool) take() job {
	p.lock.Lock()
	defer p.lock.Unlock()
	for len(p.list) == 0 {
		p.cond.Wait()
	}
	j := p.list[0]
	p.list = p.list[1:]
	return j
}

//go:noinline
func (p *pool) workOnQueue() {
	for j := p.take(); j.name != ""; j = p.take() {
		call(j.name)
	}
}

//go:noinline
func moduleWorker(jobs *q.Queue[job]) {
	for {
		j, ok := jobs.Next()
		if !ok {
			return
		}
		call(j.name)
	}
}

//go:noinline
func reflecting(c chan job) {
	chosen, value, ok := reflect.Select([]reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)}})
	if ok && chosen == 0 {
		call(value.Interface().(job).name)
	}
}

//go:noinline
func switching(c chan job) {
	for j := range c {
		switch j.kind {
		case 0:
			sink[0]++
		case 1:
			call(j.name)
		case 2:
			sink[1] += 3
		case 3:
			sink[2] *= 5
		case 4:
			sink[3]--
		case 5:
			sink[0] ^= 7
		case 6:
			sink[1] |= 9
		case 7:
			sink[2] &= 11
		case 8:
			sink[3] <<= 1
		case 9:
			sink[0] >>= 1
		}
	}
}

//go:noinline
func recovering(c chan job) {
	var j job
	defer func() { call(j.name) }()
	defer func() { recover() }()
	j = <-c
	panic(j.name)
}

//go:noinline
func faulting(c chan job, kind *int) {
	var j job
	defer func() {
		recover()
		call(j.name)
	}()
	j = <-c
	j.kind = *kind
}

//go:noinline
func faultingFirst(name string, kind *int) {
	defer func() {
		recover()
		call(name)
	}()
	sink[0] = *kind
	<-done
}

//go:noinline
func handle(name string) { call(name) }

//go:noinline
func handlingWorker(c chan job) {
	for j := range c {
		handle(j.name)
	}
}

//go:noinline
func dispatcher(c chan job, group *sync.WaitGroup) {
	for j := range c {
		group.Add(1)
		go dispatched(j, group)
	}
}

//go:noinline
func dispatched(j job, group *sync.WaitGroup) {
	defer group.Done()
	call("started for each job")
	creator(j.name, reflect.ValueOf(dispatcher).Pointer())
}

//go:noinline
func (p *pool) round() bool {
	j, ok := <-p.c
	if ok {
		call(j.name)
	}
	return ok
}

//go:noinline
func (p *pool) rounds() {
	for p.round() {
	}
}

//go:noinline
func pooled(c chan job) {
	connection := <-c
	call(connection.name)
	c <- connection
}

//go:noinline
func items(c chan job) {
	j := <-c
	for i := 0; i < 3; i++ {
		call(j.name)
	}
}

//go:noinline
func straight(name string) { call(name) }

//go:noinline
func loop(name string) {
	for i := 0; i < 3; i++ {
		call(name)
	}
}

//go:noinline
func thenSelect(name string) {
	r := call(name)
	select {
	case out <- r:
	case <-done:
	}
}

//go:noinline
func thenReceive(name string) {
	call(name)
	<-done
}

//go:noinline
func thenPanic(name string, indexes []int) {
	sink[call(name)%4]++
	<-done
	for i := range indexes {
		sink[indexes[i]]++
	}
	if len(indexes) > 100 {
		panic(indexes)
	}
	sink[1] = len(make([]int, indexes[1])) / indexes[0]
}

//go:noinline
func beforeLoop(name string, c chan job) {
	call(name)
	for j := range c {
		sink[j.kind%4]++
	}
}

//go:noinline
func semaphoreBySending(name string) {
	for i := 0; i < 2; i++ {
		sem <- struct{}{}
		call(name)
	}
}

//go:noinline
func sendOrNot(name string) {
	for i := 0; i < 2; i++ {
		select {
		case out <- i:
		default:
		}
		call(name)
	}
}

//go:noinline
func waiting(name string) {
	var group sync.WaitGroup
	group.Add(1)
	go group.Done()
	group.Wait()
	lock.Lock()
	lock.Unlock()
	runtime.Gosched()
	call(name)
}

//go:noinline
func returning(name string, stop bool) {
	for i := 0; i < 2; i++ {
		if stop {
			<-done
			return
		}
		call(name)
	}
}

//go:noinline
func otherBranch(name string, wait bool) {
	if wait {
		<-done
	} else {
		call(name)
	}
	sink[0]++
}

//go:noinline
func deferring(name string) {
	defer func() {
		select {
		case out <- 1:
		case <-done:
		}
	}()
	call(name)
}

//go:noinline
func nested(name string, depth int) {
	if depth == 0 {
		call(name)
		return
	}
	ended := make(chan struct{})
	go nestedIn(name, depth-1, ended)
	<-ended
}

//go:noinline
func nestedIn(name string, depth int, ended chan struct{}) {
	defer close(ended)
	creator(name, reflect.ValueOf(nested).Pointer())
	nested(name, depth)
}

//go:noinline
func permitted(name string) {
	for i := 0; i < 2; i++ {
		(&semaphore.Weighted{C: done}).Acquire()
		call(name)
	}
}

type calling string

func (c calling) Write(p []byte) (int, error) {
	call(string(c))
	return len(p), nil
}

//go:noinline
func copying(name string) {
	r, w := io.Pipe()
	go func() {
		w.Write([]byte("text"))
		w.Close()
	}()
	io.Copy(calling(name), r)
}

func main() {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		panic(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	if start, err = strconv.ParseUint(fields[23], 10, 64); err != nil {
		panic(err)
	}
	for i := 0; i < 10; i++ {
		done <- struct{}{}
	}

	run(func() { rangeWorker(jobs("range over a channel")) })
	run(func() { once(jobs("receive once")) })
	run(func() { valueAndOk(jobs("receive, value and ok")) })
	run(func() { selectWorker(jobs("select in a loop"), make(chan struct{})) })
	run(func() { pollingWorker(jobs("select with default in a loop")) })
	run((&pool{c: jobs("receive in a method")}).work)
	run((&pool{c: jobs("receive in a function of a function")}).workDeeply)
	run(func() { moduleWorker(q.New(job{"receive in a module", 1})) })
	run(func() { q.New(job{"generic worker", 1}).Work(func(j job) { call(j.name) }) })
	c := jobs("closure of a worker")
	run(func() {
		for j := range c {
			call(j.name)
		}
	})
	var group sync.WaitGroup
	group.Add(1)
	p := &pool{c: jobs("method value as worker")}
	work := p.work
	go func() { defer group.Done(); work() }()
	group.Wait()
	run(func() {
		q.New(job{"iterator over a channel", 1}).All()(func(j job) bool { call(j.name); return true })
	})
	p = &pool{}
	p.cond = sync.NewCond(&p.lock)
	p.list = []job{{"queue with a condition", 1}, {}}
	run(p.workOnQueue)
	run(func() { reflecting(jobs("receive through reflection")) })
	run(func() { switching(jobs("receive before a switch with a jump table")) })
	run(func() { recovering(jobs("deferred, after a recovered panic")) })
	run(func() { faulting(jobs("deferred, by a fault"), nil) })
	run(func() { handlingWorker(jobs("handler called by a worker")) })
	run(func() { dispatcher(jobs("go statement of a dispatcher"), &group) })
	group.Wait()

	run((&pool{c: jobs("one round in a function of its own")}).rounds)
	free := make(chan job, 1)
	free <- job{"connection out of a pool", 1}
	run(func() { pooled(free) })
	run(func() { items(jobs("receive, then a loop of calls")) })
	run(func() { straight("straight call") })
	run(func() { loop("loop of calls") })
	run(func() { thenSelect("call, then select") })
	run(func() { thenReceive("call, then receive") })
	run(func() { thenPanic("call, then receive, then a panic that does not return", []int{1, 2}) })
	run(func() { beforeLoop("call before the loop", jobs("")) })
	run(func() { semaphoreBySending("semaphore by sending") })
	run(func() { sendOrNot("send with default") })
	run(func() { waiting("lock and wait group") })
	run(func() { returning("return after the receive", false) })
	run(func() { otherBranch("receive in the other branch", false) })
	run(func() { deferring("result sent by a deferred call") })
	run(func() { faultingFirst("deferred, by a fault before the receive", nil) })
	run(func() { nested("goroutine of a goroutine, which waits for it", 3) })
	run(func() { permitted("permit of a semaphore") })
	run(func() { copying("written to by the standard library") })
	json.NewEncoder(os.Stdout).Encode(stacks)
}
`;
