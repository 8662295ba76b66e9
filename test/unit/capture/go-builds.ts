// Go programs for the tests of services/capture/go, built in a folder that is deleted afterwards.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const BUILD_TIMEOUT_MS = 240_000;

export interface GoBuilds {
  /** Runs `go build <args>` on one of SOURCES and gives the path of the executable. */
  build(source: keyof typeof SOURCES, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string>;
  run(command: string, args: readonly string[]): Promise<string>;
  readonly folder: string;
  delete(): Promise<void>;
}

export async function openGoBuilds(): Promise<GoBuilds> {
  const folder = await mkdtemp(join(tmpdir(), 'flowtag-go-'));
  const base = {
    PATH: process.env.PATH,
    HOME: folder,
    GOCACHE: join(folder, 'cache'),
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-mod=mod',
    GO111MODULE: 'on',
    CGO_ENABLED: '0',
  };
  let count = 0;
  const run = async (command: string, args: readonly string[], cwd = folder, env: NodeJS.ProcessEnv = {}) => {
    const options = { cwd, env: { ...base, ...env }, maxBuffer: 256 << 20 };
    return (await promisify(execFile)(command, args, options)).stdout;
  };
  return {
    folder,
    run: (command, args) => run(command, args),
    async build(source, args, env) {
      const output = join(folder, `${source}-${++count}`);
      const sourceFolder = join(folder, `${source}-${count}.src`);
      await mkdir(sourceFolder);
      await writeFile(join(sourceFolder, 'main.go'), SOURCES[source]);
      await writeFile(join(sourceFolder, 'go.mod'), `module example.org/${source}\n\ngo 1.19\n`);
      await run('go', ['build', '-buildvcs=false', '-o', output, ...args, '.'], sourceFolder, env);
      return output;
    },
    delete: () => rm(folder, { recursive: true, force: true }),
  };
}

const SOURCES = {
  // A server that is a client too.
  server: `package main

import (
	"fmt"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		go fmt.Println(r.URL.Path)
		http.Get("http://127.0.0.1:1")
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:0", nil))
}
`,
  // C thread-local variables move g away from its usual place.
  threadlocal: `package main

/*
#include <stdint.h>
__thread int64_t numbers[10];
static int64_t touch(int i) { return numbers[i]++; }
*/
import "C"
import (
	"fmt"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, C.touch(1))
		http.Get("http://127.0.0.1:1")
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:0", nil))
}
`,
  plain: `package main

import "fmt"

func main() { fmt.Println("no server") }
`,
};
