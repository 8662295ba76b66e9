import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deathSignalPrefix } from '../../../services/cli/installation.ts';
import { ProcessTree } from '../../../services/cli/process-tree.ts';
import type { ChildExit, ChildSpec } from '../../../services/cli/supervised-child.ts';
import { eventually } from './command-line.ts';

let folder: string;
let tree: ProcessTree;
let lines: string[];
let exits: { name: string; exit: ChildExit; restartMs: number | undefined }[];
let slow: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flowtag-tree-'));
  [lines, exits, slow] = [[], [], []];
  tree = new ProcessTree(
    deathSignalPrefix(),
    {
      onLine: (name, line) => lines.push(`${name}: ${line}`),
      onExit: (name, exit, restartMs) => exits.push({ name, exit, restartMs }),
    },
    (name) => slow.push(name),
  );
});
afterEach(async () => {
  tree.kill();
  await tree.stop();
  rmSync(folder, { recursive: true, force: true });
});

const node = (name: string, script: string, restart = true): ChildSpec => ({
  name,
  command: { file: process.execPath, args: ['-e', script] },
  restart,
});
const FOREVER = 'setInterval(() => {}, 1000);';
const alive = (pid: number): boolean => existsSync(`/proc/${pid}/exe`);

describe('process tree', () => {
  it('starts a child that dies again, later each time, with its lines kept', async () => {
    tree.start(node('flaky', 'console.log("out"); console.error("err"); process.exitCode = 1'));
    await eventually('two restarts', () => exits.length === 3);
    expect(exits.map(({ restartMs }) => restartMs)).toEqual([500, 1000, 2000]);
    expect(exits[0]).toEqual({ name: 'flaky', exit: { code: 1, signal: null }, restartMs: 500 });
    expect(lines.filter((line) => line === 'flaky: out')).toHaveLength(3);
    expect(lines.filter((line) => line === 'flaky: err')).toHaveLength(3);
  });

  it.each([2, 3])('does not try again after exit code %i', async (code) => {
    tree.start(node('hopeless', `process.exitCode = ${code}`));
    await eventually('exit', () => exits.length === 1);
    expect(exits[0]).toEqual({ name: 'hopeless', exit: { code, signal: null }, restartMs: undefined });
  });

  it('starts a child again that was killed', async () => {
    const child = tree.start(node('victim', `console.log(process.pid); ${FOREVER}`));
    await child.firstLine;
    process.kill(child.pid!, 'SIGKILL');
    await eventually('second start', () => lines.length === 2);
    expect(exits[0]?.exit).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('reports a program that is not there', async () => {
    const bare = new ProcessTree(
      [],
      { onLine: () => undefined, onExit: (_, exit) => exits.push({ name: '', exit, restartMs: 0 }) },
      () => undefined,
    );
    const child = bare.start({
      name: 'gone',
      command: { file: '/no/such/program', args: [] },
      restart: false,
    });
    await eventually('exit', () => exits.length === 1);
    expect(exits[0]?.exit.problem).toContain('ENOENT');
    expect(await child.firstLine).toBeUndefined();
    await bare.stop();
  });

  it('stops in reverse order, each when the one after it has gone', async () => {
    const log = join(folder, 'order');
    const script = (name: string) => `
      process.on('SIGTERM', () => setTimeout(() => {
        require('fs').appendFileSync(${JSON.stringify(log)}, '${name} ');
        process.exit(0);
      }, 100));
      console.log('ready'); ${FOREVER}`;
    const children = ['first', 'second', 'third'].map((name) => tree.start(node(name, script(name))));
    await Promise.all(children.map((child) => child.firstLine));
    tree.defer(() => {
      lines.push('deferred');
    });
    const pids = children.map((child) => child.pid!);
    await tree.stop();
    expect(readFileSync(log, 'utf8')).toBe('third second first ');
    expect(lines.at(-1)).toBe('deferred');
    expect(pids.filter(alive)).toEqual([]);
    expect([exits, slow]).toEqual([[], []]);
  });

  it('kills what does not stop in time, with what it started', async () => {
    const child = tree.start(
      node(
        'stubborn',
        `process.on('SIGTERM', () => {});
         const grandchild = require('child_process').spawn('sleep', ['1000'], { stdio: 'ignore' });
         console.log(grandchild.pid); ${FOREVER}`,
      ),
    );
    const grandchild = Number(await child.firstLine);
    const { pid } = child;
    expect(await child.stop(200)).toBe(false);
    await eventually('both gone', () => !alive(pid!) && !alive(grandchild));
  });

  it('leaves no grandchild behind when a child crashes', async () => {
    const child = tree.start(
      node(
        'crash',
        `const grandchild = require('child_process').spawn('sleep', ['1000'], { stdio: 'inherit' });
         console.log(grandchild.pid); setTimeout(() => process.exit(1), 100);`,
        false,
      ),
    );
    const grandchild = Number(await child.firstLine);
    await eventually('exit', () => exits.length === 1);
    await eventually('grandchild gone', () => !alive(grandchild));
  });

  it('does not start anything again while it stops', async () => {
    tree.start(node('flaky', 'process.exitCode = 1'));
    await eventually('exit', () => exits.length === 1);
    await tree.stop();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(exits).toHaveLength(1);
  });

  it('leaves nothing when the parent is killed with -9', async () => {
    const script = `
      import { ProcessTree } from ${JSON.stringify(join(import.meta.dirname, '../../../services/cli/process-tree.ts'))};
      import { deathSignalPrefix } from ${JSON.stringify(join(import.meta.dirname, '../../../services/cli/installation.ts'))};
      const tree = new ProcessTree(deathSignalPrefix(), { onLine() {}, onExit() {} }, () => {});
      for (const name of ['a', 'b']) {
        const child = tree.start({ name, command: { file: 'sh', args: ['-c', 'echo ready; exec sleep 1000'] }, restart: true });
        await child.firstLine;
        console.log(child.pid);
      }`;
    const parent: ChildProcess = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    parent.stdout!.on('data', (chunk) => {
      output += chunk;
    });
    await eventually('children', () => output.split('\n').length === 3);
    const pids = output.trim().split('\n').map(Number);
    expect(pids.filter(alive)).toHaveLength(2);
    parent.kill('SIGKILL');
    await eventually('nothing left', () => !pids.some(alive));
  });
});
