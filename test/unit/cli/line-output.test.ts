import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { LineOutput } from '../../../services/cli/line-output.ts';
import { sayOn } from '../../../services/cli/terminal.ts';

/** A reader that reads only when told to. */
function pausedReader() {
  const waiting: (() => void)[] = [];
  let read = '';
  let paused = true;
  const stream = new Writable({
    write(chunk, _, done) {
      read += chunk;
      if (paused) waiting.push(done);
      else done();
    },
  });
  const resume = () => {
    paused = false;
    for (const done of waiting.splice(0)) done();
  };
  return { stream, resume, read: () => read };
}

describe('output', () => {
  it('leaves live lines out when nobody reads for long, and says how many', async () => {
    const said: string[] = [];
    const { stream, resume } = pausedReader();
    const out = new LineOutput(stream, (text) => said.push(text));
    const line = 'x'.repeat(1024 * 1024);
    for (let n = 0; n < 20; n++) out.write(line);
    expect(stream.writableLength).toBeLessThan(18 * 1024 * 1024);
    resume();
    await out.flush();
    expect(said).toEqual(['stdout was not read for a while: 4 flows are left out']);
  });

  it('waits with history instead', async () => {
    const { stream, resume, read } = pausedReader();
    const out = new LineOutput(stream, () => undefined);
    const lines = Array.from({ length: 40 }, (_, n) => `${n} ${'x'.repeat(1024 * 1024)}`);
    const written = out.writeAll(lines);
    expect(stream.writableLength).toBeLessThan(2 * 1024 * 1024);
    resume();
    await written;
    expect(read()).toBe(`${lines.join('\n')}\n`);
  });

  it.each([
    ['EPIPE', false],
    ['ENOSPC', true],
  ])('is closed by %s', async (code, isFailure) => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
    });
    const out = new LineOutput(stream, () => undefined);
    out.write('a');
    await out.flush();
    await new Promise((resolve) => setImmediate(resolve));
    expect([out.closed.aborted, out.failure !== undefined]).toEqual([true, isFailure]);
    await out.writeAll(['b', 'c']);
  });
});

describe('messages', () => {
  it('are escaped line by line', () => {
    let text = '';
    const stderr = new Writable({
      write(chunk, _, done) {
        text += chunk;
        done();
      },
    });
    sayOn({ stdout: stderr, stderr })('captured \x1b[2J\n  second\r');
    expect(text).toBe('flowtag: captured \\x1b[2J\n  second\\x0d\n');
  });
});
