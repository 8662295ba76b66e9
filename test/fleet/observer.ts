// `flowtag observe -f` as somebody runs it in a terminal, and whether what it prints could do anything to that.
import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { endChild } from '../support/end-child.ts';

/** Control, format and separator characters but the end of a line: what a terminal obeys, or a reader cannot see. */
const UNSAFE = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/gu;
const STOP_MS = 10_000;

export class Observer {
  unsafe = 0;
  lines = 0;
  private readonly child: ChildProcess;

  constructor(server: string, format: 'compact' | 'wide' | 'json') {
    const command = [
      resolve('bin/flowtag.js'),
      'observe',
      '-f',
      '-o',
      format,
      '--color',
      'never',
      '--server',
      server,
    ];
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const output of [this.child.stdout!, this.child.stderr!])
      output.setEncoding('utf8').on('data', (text: string) => {
        this.unsafe += text.match(UNSAFE)?.length ?? 0;
        if (output === this.child.stdout) this.lines += text.split('\n').length - 1;
      });
  }

  close(): Promise<void> {
    return endChild(this.child, STOP_MS);
  }
}
