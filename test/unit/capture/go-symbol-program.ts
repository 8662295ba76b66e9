// A Go program that tells its own call stacks: as text offsets, and what package runtime says each of them is.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { GoBuilds } from './go-builds.ts';

const told = z.array(
  z.array(z.object({ offset: z.number(), function: z.string(), file: z.string(), line: z.number() })),
);
/** Stacks; an entry each for a call, an inlined one too. */
export type ToldStacks = z.infer<typeof told>;

export async function writeStackProgram({ folder }: GoBuilds): Promise<void> {
  await mkdir(join(folder, 'deep.er', 'v2'), { recursive: true });
  await writeFile(join(folder, 'go.mod'), 'module example.org/stacks\n\ngo 1.19\n');
  await writeFile(join(folder, 'deep.er', 'v2', 'deep.go'), DEEP);
  await writeFile(join(folder, 'main.go'), MAIN);
}

export async function stacksOf(go: GoBuilds, executable: string): Promise<ToldStacks> {
  return told.parse(JSON.parse(await go.run(executable, [])));
}

const DEEP = `package deep

type Inner struct{}

//go:noinline
func (Inner) Through(f func()) { f() }

func Inlined(f func()) { each(f) }

func each(f func()) {
	for i := 0; i < 1; i++ {
		f()
	}
}

type List[T any] struct{ Items []T }

//go:noinline
func (l *List[T]) Each(f func(T)) {
	for _, item := range l.Items {
		f(item)
	}
}
`;

// The offsets count from the kernel's start of the code, field 26 of /proc/self/stat.
const MAIN = `package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"

	deep "example.org/stacks/deep.er/v2"
)

type call struct {
	Offset   uint64 \`json:"offset"\`
	Function string \`json:"function"\`
	File     string \`json:"file"\`
	Line     int    \`json:"line"\`
}

var (
	start  uint64
	lock   sync.Mutex
	stacks [][]call
)

//go:noinline
func record() {
	pcs := make([]uintptr, 100)
	pcs = pcs[:runtime.Callers(1, pcs)]
	var stack []call
	for i := range pcs {
		frame, _ := runtime.CallersFrames(pcs[i : i+1]).Next()
		stack = append(stack, call{uint64(pcs[i]) - start, frame.Function, frame.File, frame.Line})
	}
	lock.Lock()
	defer lock.Unlock()
	stacks = append(stacks, stack)
}

func inlinedOnce() { record() }

func inlinedTwice() {
	inlinedOnce()
}

type embedding struct{ deep.Inner }

type through interface{ Through(func()) }

type method struct{ n int }

func (m method) handle() { record() }

//go:noinline
func apply[T any](value T, f func(T)) { f(value) }

func inGoroutine(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

type signal struct{ sync.WaitGroup }

func (s *signal) work(n int) {
	record()
	s.Done()
}

type recording struct{ *bytes.Buffer }

func (r recording) Write(p []byte) (int, error) {
	record()
	return r.Buffer.Write(p)
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

	record()
	inlinedTwice()
	func() {
		defer inlinedTwice()
	}()
	deep.Inlined(func() { inlinedTwice() })
	var t through = &embedding{}
	t.Through(inlinedTwice)
	value := method{1}.handle
	value()
	inGoroutine(method{2}.handle)
	apply("text", func(string) { inlinedOnce() })
	apply(1.5, func(float64) { deep.Inlined(record) })
	(&deep.List[map[string]int]{Items: make([]map[string]int, 1)}).Each(func(map[string]int) { record() })
	var s signal
	s.Add(1)
	go s.work(1)
	s.Wait()
	sort.Slice([]int{2, 1}, func(i, j int) bool { record(); return i < j })
	fmt.Fprintln(io.MultiWriter(recording{&bytes.Buffer{}}), "text")
	func() {
		defer func() { recover(); record() }()
		var none *method
		none.handle()
	}()

	server := httptest.NewServer(http.StripPrefix("/a", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inlinedTwice() })))
	if _, err := http.Get(server.URL + "/a/b"); err != nil {
		panic(err)
	}
	json.NewEncoder(os.Stdout).Encode(stacks)
}
`;
