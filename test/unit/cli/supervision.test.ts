// The pure parts of supervising: restart delays, lines, log lines, what heartbeats say, remembered ids.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Status } from '../../../schemas/status.ts';
import { LineSplitter } from '../../../services/cli/line-splitter.ts';
import { LogFile } from '../../../services/cli/log-file.ts';
import { readLogLine } from '../../../services/cli/log-line.ts';
import { RecentIds } from '../../../services/cli/recent-ids.ts';
import { failuresInRow, restartDelayMs } from '../../../services/cli/restart-delay.ts';
import { StatusBoard } from '../../../services/cli/status-board.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('restart delay', () => {
  it('doubles up to ten seconds and starts anew after a steady run', () => {
    expect([1, 2, 3, 4, 5, 6, 60].map(restartDelayMs)).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    expect(failuresInRow(4, 100)).toBe(5);
    expect(failuresInRow(4, 30_000)).toBe(1);
  });
});

describe('lines', () => {
  it('come whole, whatever the chunks', () => {
    const lines = new LineSplitter();
    expect([lines.push('a\nb'), lines.push('c'), lines.push('\n\nd'), lines.end(), lines.end()]).toEqual([
      ['a'],
      [],
      ['bc', ''],
      ['d'],
      [],
    ]);
  });
  it('are bounded', () => {
    expect(new LineSplitter().push('x'.repeat(70_000))).toHaveLength(1);
  });
});

describe('log line', () => {
  it.each([
    [
      '{"level":"warn","time":"t","role":"sink","msg":"store away","retryMs":200}',
      'warn',
      'store away retryMs=200',
    ],
    ['{"level":50,"pid":1,"msg":"failed","err":{"message":"no","stack":"…"}}', 'error', 'failed (no)'],
    ['{"level":"fatal","msg":"gone","what":{"a":1}}', 'error', 'gone what={"a":1}'],
    ['{"level":"info","msg":"starting"}', 'quiet', 'starting'],
    ['[7] 2026/11/22 13:00:01.123456 [WRN] low disk', 'warn', 'low disk'],
    ['[7] 2026/11/22 13:00:01.123456 [FTL] in use', 'error', 'in use'],
    ['[7] 2026/11/22 13:00:01.123456 [INF] ready', 'quiet', 'ready'],
    ['{"listen":"127.0.0.1:1"}', 'plain', '{"listen":"127.0.0.1:1"}'],
    ['{broken', 'plain', '{broken'],
    ['    at foo (bar.js:1)', 'plain', '    at foo (bar.js:1)'],
  ])('%s', (line, severity, text) => {
    expect(readLogLine(line)).toEqual({ severity, text });
  });
});

describe('log file', () => {
  it('is rotated once and never grows beyond twice its size', () => {
    const folder = mkdtempSync(join(tmpdir(), 'flowtag-log-'));
    folders.push(folder);
    const file = join(folder, 'sink.log');
    writeFileSync(file, 'before\n');
    const log = new LogFile(file, 30);
    for (let n = 0; n < 10; n++) log.append(`line ${n}xxxx`);
    log.close();
    expect(readFileSync(file, 'utf8')).toBe('line 8xxxx\nline 9xxxx\n');
    expect(readFileSync(`${file}.1`, 'utf8')).toBe('line 6xxxx\nline 7xxxx\n');
    expect(log.lostLines).toBe(0);
  });
  it('counts what it cannot write', () => {
    const log = new LogFile('/proc/nowhere/x.log');
    log.append('a');
    log.append('b');
    expect(log.lostLines).toBe(2);
  });
});

describe('status board', () => {
  const beat = (role: Status['role'], state: Status['state'], notes: string[] = []): Status => ({
    v: 1,
    role,
    instance: 'i',
    host: 'h',
    version: '0',
    timeNs: 0n,
    startedNs: 0n,
    state,
    notes,
    counters: {},
  });

  it('says each note once', () => {
    const board = new StatusBoard();
    expect(board.accept(beat('capture', 'ready', ['pid 7: not Go']), 0)).toEqual(['capture: pid 7: not Go']);
    expect(board.accept(beat('capture', 'ready', ['pid 7: not Go', 'pid 8: gone']), 1)).toEqual([
      'capture: pid 8: gone',
    ]);
  });

  it('says no note again that is repeated, and forgets those that are not', () => {
    const board = new StatusBoard();
    const lasting = Array.from({ length: 100 }, (_, n) => `pid ${n}: not Go`);
    expect(board.accept(beat('capture', 'ready', lasting), 0)).toHaveLength(100);
    for (let n = 0; n < 2_000; n++) {
      expect(board.accept(beat('sink', 'ready', [`note ${n}`]), n)).toEqual([`sink: note ${n}`]);
      if (n % 100 === 0) expect(board.accept(beat('capture', 'ready', lasting), n)).toEqual([]);
    }
    expect(board.accept(beat('sink', 'ready', ['note 0']), 9)).toEqual(['sink: note 0']);
  });

  it('says a bounded number of notes, each once, however many a heartbeat has', () => {
    const board = new StatusBoard();
    const many = Array.from({ length: 5_000 }, (_, n) => `pid ${n}: not Go`);
    expect(board.accept(beat('capture', 'ready', many), 0)).toHaveLength(100);
    expect(board.accept(beat('capture', 'ready', many), 1)).toEqual([]);
  });

  it('waits for ready, and five seconds for better than degraded', () => {
    const board = new StatusBoard();
    const waiting = (nowMs: number) => board.waitingFor(['sink', 'capture'], nowMs);
    expect(waiting(0)).toEqual(['sink (no sign of life yet)', 'capture (no sign of life yet)']);
    expect(board.accept(beat('sink', 'starting', ['the store starts']), 0)).toEqual([]);
    board.accept(beat('capture', 'degraded'), 1_000);
    expect(waiting(2_000)).toEqual(['sink (starting: the store starts)', 'capture (degraded)']);
    board.accept(beat('sink', 'ready'), 3_000);
    board.accept(beat('capture', 'degraded'), 6_000);
    expect(waiting(5_999)).toEqual(['capture (degraded)']);
    expect(waiting(6_000)).toEqual([]);
    board.accept(beat('sink', 'stopping'), 7_000);
    expect(waiting(7_000)).toEqual(['sink (stopping)']);
  });
});

describe('recent ids', () => {
  it('tells repeats, within its capacity', () => {
    const ids = new RecentIds(2);
    expect(['a', 'a', 'b', 'c', 'c', 'a'].map((id) => ids.add(id))).toEqual([
      true,
      false,
      true,
      true,
      false,
      true,
    ]);
  });
});
