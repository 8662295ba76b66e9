import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, realpathSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cutName,
  listProcesses,
  readBootId,
  readProcess,
  serviceName,
  startTicks,
} from '../../../services/capture/proc.ts';

describe('the start time of a process', () => {
  const rest = `S 1 1 1 0 -1 4194560 ${'0 '.repeat(8)}20 0 1 0 5551234 0 0`;
  it.each(['app', 'my app', 'a) S 1 (b', '))', '(', ''])('is read whatever its name: %s', (name) => {
    expect(startTicks(`4321 (${name}) ${rest}`)).toBe(5_551_234n);
  });

  it('is read whatever its name, property', () => {
    fc.assert(fc.property(fc.string(), (name) => startTicks(`1 (${name}) ${rest}`) === 5_551_234n));
  });
});

describe('the name of a service', () => {
  const environ = (...variables: string[]) => [...variables, ''].join('\0');
  it.each([
    ['its own variable', environ('PATH=/bin', 'OTEL_SERVICE_NAME=orders'), 'orders'],
    ['an attribute', environ('OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=orders,c=d'), 'orders'],
    [
      'an attribute with spaces around',
      environ('OTEL_RESOURCE_ATTRIBUTES=a=b, service.name = orders '),
      'orders',
    ],
    [
      'an attribute in percent encoding',
      environ('OTEL_RESOURCE_ATTRIBUTES=service.name=or%C3%A4%20d'),
      'orä d',
    ],
    ['an attribute with stray percent signs', environ('OTEL_RESOURCE_ATTRIBUTES=service.name=100%'), '100%'],
    ['an attribute with =', environ('OTEL_RESOURCE_ATTRIBUTES=service.name=a=b'), 'a=b'],
    [
      'the variable before the attribute',
      environ('OTEL_RESOURCE_ATTRIBUTES=service.name=b', 'OTEL_SERVICE_NAME=a'),
      'a',
    ],
    [
      'the attribute when the variable is empty',
      environ('OTEL_SERVICE_NAME=', 'OTEL_RESOURCE_ATTRIBUTES=service.name=b'),
      'b',
    ],
    [
      'none: other attributes',
      environ('OTEL_RESOURCE_ATTRIBUTES=service.names=a,xservice.name=b'),
      undefined,
    ],
    ['none: other variables', environ('MY_OTEL_SERVICE_NAME=a', 'X=OTEL_SERVICE_NAME=a'), undefined],
    ['none: empty', environ('OTEL_SERVICE_NAME=', 'OTEL_RESOURCE_ATTRIBUTES=service.name='), undefined],
    ['none: no environment', '', undefined],
  ])('is %s', (_, text, name) => {
    expect(serviceName(text)).toBe(name);
  });
});

describe('a long name', () => {
  it.each([
    ['a'.repeat(255), 255],
    ['a'.repeat(5_000), 255],
    ['\u00e4'.repeat(5_000), 254],
    ['\u20ac'.repeat(5_000), 255],
    [`a${'\u{1f600}'.repeat(100)}`, 253],
    ['', 0],
  ])('is cut between characters: %#', (name, bytes) => {
    expect(name.startsWith(cutName(name))).toBe(true);
    expect(Buffer.byteLength(cutName(name))).toBe(bytes);
  });

  it('is cut to 255 bytes at most and to no fewer than fit, property', () => {
    const long = fc.string({ unit: 'binary', minLength: 60, maxLength: 400 });
    fc.assert(
      fc.property(long, (name) => {
        const cut = cutName(name);
        const next = String.fromCodePoint(name.codePointAt(cut.length) ?? 0);
        expect(name.startsWith(cut)).toBe(true);
        expect(Buffer.from(cut).toString()).toBe(cut);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(255);
        if (cut !== name) expect(Buffer.byteLength(cut + next)).toBeGreaterThan(255);
      }),
    );
  });
});

describe('/proc of this machine', () => {
  const self = { pid: process.pid, executable: realpathSync(process.execPath) };

  it('lists this process', async () => {
    expect(await listProcesses()).toContainEqual(self);
  });

  it('tells about this process, and nothing about one that is not there', () => {
    const bootNs =
      BigInt(Date.now() - Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000) * 1_000_000n;
    const facts = readProcess(self.pid, bootNs)!;
    expect(facts).toMatchObject({ pid: self.pid, executablePath: self.executable, executableName: 'node' });
    const ageMs = Number(BigInt(Date.now()) - facts.creationTimeNs / 1_000_000n);
    expect(Math.abs(ageMs - process.uptime() * 1000)).toBeLessThan(5_000);
    expect(readProcess(2 ** 22 + 1, bootNs)).toBeUndefined();
  });

  it('bounds the name that a process gives itself', async () => {
    const child = spawn('sleep', ['60'], { env: { OTEL_SERVICE_NAME: '\u00e4'.repeat(5_000) } });
    try {
      await once(child, 'spawn');
      await expect.poll(() => readProcess(child.pid!, 0n)?.serviceName).toBe('\u00e4'.repeat(127));
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('names the boot', async () => {
    expect(await readBootId()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });
});
