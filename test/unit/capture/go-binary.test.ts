// The reader against what Go's own tools say about the same builds.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isGoHttpServer } from '../../../services/capture/go/is-go-http-server.ts';
import { type GoBinary, parseGoBinary, readGoBinary } from '../../../services/capture/go/read-go-binary.ts';
import { instructionLength } from '../../../services/capture/go/x86.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';

/** The same for both position-independent builds: the standard library is compiled for them once. */
const WITH_C = { CGO_ENABLED: '1', CC: 'clang' };
const HOOKS = [
  'goroutine_start',
  'request_end',
  'serve_end',
  'serve_end',
  'round_trip',
  'request_write',
  'dial_queued',
  'dial',
  'request_start',
];
let go: GoBuilds;
let exe: string;

beforeAll(async () => {
  go = await openGoBuilds();
  exe = await go.build('server', []);
}, BUILD_TIMEOUT_MS);
afterAll(() => go.delete());

describe('a server as built by default', () => {
  it('has its facts read', async () => {
    const binary = await readGoBinary(exe);
    expect((await go.run('go', ['version', exe])).trim()).toBe(`${exe}: ${binary.goVersion}`);
    expect(binary.buildId).toBe((await go.run('go', ['tool', 'buildid', exe])).trim());
    expect(binary).toMatchObject({ modulePath: 'example.org/server', pie: false, stripped: false });
    expect(binary).toMatchObject({ notAttachable: [], fallbacks: [] });
    expect(binary.offsets.tlsG).toBe(-8);
  });

  it('has its probes where the disassembler sees the instructions', async () => {
    const binary = await readGoBinary(exe);
    expect(binary.sites.map(({ hook }) => hook)).toEqual(HOOKS);
    expect(binary.sites.map(({ guarded }) => guarded)).toEqual([false, ...HOOKS.slice(1).map(() => true)]);
    expect(offsetsOf(binary)).toEqual(await expectedOffsets(exe));
  });

  it('has every instruction of the runtime measured as the disassembler does', async () => {
    const text = await go.run('go', ['tool', 'objdump', '-s', '^(runtime|sync|strconv|math/big)\\.', exe]);
    let count = 0;
    for (const fn of text.split(/^TEXT /m))
      for (const [, hex] of fn.matchAll(/^ {2}\S+\t+0x[0-9a-f]+\t+([0-9a-f]+)\t+/gm)) {
        // Go's disassembler does not know VEX and EVEX, and what follows them it may split wrongly.
        if (/^(c4|c5|62)/.test(hex!)) break;
        const code = Buffer.concat([Buffer.from(hex!, 'hex'), Buffer.alloc(16)]);
        if (instructionLength(code, 0) !== hex!.length / 2)
          expect.fail(`${hex}: ${instructionLength(code, 0)} in ${fn.slice(0, 80)}`);
        count++;
      }
    expect(count).toBeGreaterThan(50_000);
  });
});

describe('other builds of it', () => {
  it('are read when stripped, as the unstripped ones', async () => {
    const stripped = await readGoBinary(await go.build('server', ['-ldflags=-s -w']));
    expect(stripped.stripped).toBe(true);
    expect(offsetsOf(stripped)).toEqual(await expectedOffsets(exe));
  });

  it('are read without a section table', async () => {
    const bytes = await readFile(exe);
    const whole = parseGoBinary(bytes);
    bytes.writeBigUInt64LE(0n, 40);
    bytes.writeUInt16LE(0, 60);
    expect(parseGoBinary(bytes)).toEqual({ ...whole, stripped: true });
  });

  it('are read without the text start in the function table, as Go 1.26 and later write it', async () => {
    const bytes = await readFile(exe);
    const { symbols, ...whole } = parseGoBinary(bytes);
    eraseTextStart(bytes);
    expect(parseGoBinary(bytes)).toMatchObject({ ...whole, textStartBy: 'entry point' });
    // Entered in the C library's start code.
    bytes.writeBigUInt64LE(bytes.readBigUInt64LE(24) + 0x40n, 24);
    expect(parseGoBinary(bytes)).toMatchObject({ ...whole, textStartBy: 'prologue search' });
    expect(parseGoBinary(bytes).symbols.textOffset).toBe(symbols.textOffset);
  });

  it('are read when position-independent', { timeout: BUILD_TIMEOUT_MS }, async () => {
    const path = await go.build('server', ['-buildmode=pie'], WITH_C);
    const binary = await readGoBinary(path);
    expect(binary).toMatchObject({ pie: true, notAttachable: [], offsets: { tlsG: -8 } });
    expect(offsetsOf(binary)).toEqual(await expectedOffsets(path));
    expect(await isGoHttpServer(path)).toBe(true);
  });

  it('are read when a C linker made them, C thread-locals included', {
    timeout: BUILD_TIMEOUT_MS,
  }, async () => {
    const args = ['-buildmode=pie', '-ldflags=-linkmode=external'];
    const path = await go.build('threadlocal', args, WITH_C);
    const binary = await readGoBinary(path);
    // Behind %fs lie, rounded up to 16: g (8 bytes) and the 10 numbers.
    expect(binary).toMatchObject({
      pie: true,
      modulePath: 'example.org/threadlocal',
      offsets: { tlsG: -96 },
    });
    expect(offsetsOf(binary)).toEqual(await expectedOffsets(path));
    expect(await isGoHttpServer(path)).toBe(true);
  });
});

describe('what is no Go server', () => {
  it('is refused with the reason', { timeout: BUILD_TIMEOUT_MS }, async () => {
    const script = join(go.folder, 'script');
    await writeFile(script, '#!/bin/sh\n');
    const plain = await go.build('plain', []);
    const cases = [
      [plain, 'no_net_http'],
      ['/bin/true', 'not_go'],
      [script, 'not_elf'],
      [go.folder, 'not_readable'],
      [join(go.folder, 'missing'), 'not_readable'],
    ] as const;
    for (const [path, reason] of cases)
      await expect(readGoBinary(path)).rejects.toMatchObject({ name: 'GoBinaryError', reason });
    for (const path of [plain, '/bin/true', script, go.folder])
      expect(await isGoHttpServer(path)).toBe(false);
    await expect(isGoHttpServer(join(go.folder, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await isGoHttpServer(exe)).toBe(true);
  });
});

function offsetsOf({ sites }: GoBinary): number[] {
  return sites.map(({ fileOffset }) => Number(fileOffset));
}

/** From `go tool objdump`: the call of runqput, and the first JBE of the others. */
async function expectedOffsets(path: string): Promise<number[]> {
  const bytes = await readFile(path);
  const first = async (name: string, instruction: RegExp): Promise<number> => {
    const pattern = `^${name.replace(/[.*()]/g, '\\$&')}$`;
    const text = await go.run('go', ['tool', 'objdump', '-s', pattern, path]);
    const line = text.split('\n').find((candidate) => instruction.test(candidate));
    const address = /\t+0x([0-9a-f]+)\t/.exec(line ?? '')?.[1];
    if (address === undefined) throw new Error(`${name} has no ${instruction} in\n${text}`);
    return toFileOffset(bytes, Number.parseInt(address, 16));
  };
  return [
    await first('runtime.newproc.func1', /\tCALL runtime\.runqput\(SB\)/),
    await first('net/http.(*response).finishRequest', /\tJBE /),
    await first('net/http.(*conn).serve.func1', /\tJBE /),
    await first('net/http.(*http2serverConn).runHandler.func1', /\tJBE /),
    await first('net/http.(*persistConn).roundTrip', /\tJBE /),
    await first('net/http.(*Request).write', /\tJBE /),
    await first('net/http.(*Transport).queueForDial', /\tJBE /),
    await first('net/http.(*Transport).dialConnFor', /\tJBE /),
    await first('net/http.serverHandler.ServeHTTP', /\tJBE /),
  ];
}

function toFileOffset(bytes: Buffer, address: number): number {
  const table = Number(bytes.readBigUInt64LE(32));
  for (let i = 0; i < bytes.readUInt16LE(56); i++) {
    const [type, offset, vaddr, , size] = [0, 8, 16, 24, 32].map((field) =>
      field === 0
        ? bytes.readUInt32LE(table + 56 * i)
        : Number(bytes.readBigUInt64LE(table + 56 * i + field)),
    ) as [number, number, number, number, number];
    if (type === 1 && address >= vaddr && address < vaddr + size) return address - vaddr + offset;
  }
  throw new Error(`address ${address} is in no segment`);
}

function eraseTextStart(bytes: Buffer): void {
  const magic = [Buffer.from('f0ffffff00000108', 'hex'), Buffer.from('f1ffffff00000108', 'hex')];
  for (const needle of magic)
    for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1))
      if (at % 8 === 0) bytes.writeBigUInt64LE(0n, at + 24);
}
