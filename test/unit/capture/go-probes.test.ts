// Builds in which a profile made hot functions disappear, simulated by taking the calls out of a usual one: Debian's
// Go 1.19 knows no profiles.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseElf } from '../../../services/capture/go/elf.ts';
import { findFunctionTables } from '../../../services/capture/go/pclntab.ts';
import { PROBED_FUNCTIONS, planProbes } from '../../../services/capture/go/probes.ts';
import { branchesTo, type GoFunctions, readFunctions } from '../../../services/capture/go/program.ts';
import { findTextStart } from '../../../services/capture/go/text-start.ts';
import { BUILD_TIMEOUT_MS, type GoBuilds, openGoBuilds } from './go-builds.ts';

const GOID = 152;
const SERVE = 'net/http.(*conn).serve';
const SERVE_HTTP = 'net/http.serverHandler.ServeHTTP';
const FINISH = 'net/http.(*response).finishRequest';
const NEWPROC = 'runtime.newproc.func1';
const USUAL = [
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
let program: GoFunctions;

beforeAll(async () => {
  go = await openGoBuilds();
  const elf = parseElf(await readFile(await go.build('server', ['-ldflags=-s -w'])));
  const table = findFunctionTables(elf)[0]!;
  const functions = readFunctions(elf, table, findTextStart(elf, table)!.vaddr, PROBED_FUNCTIONS);
  // Go 1.19's defers; from 1.21 on it does not, and is inlined.
  const serveHttp = functions.get(SERVE_HTTP)!.map((fn) => ({ ...fn, defers: false }));
  program = new Map([...functions, [SERVE_HTTP, serveHttp]]);
}, BUILD_TIMEOUT_MS);
afterAll(() => go.delete());

describe('planProbes', () => {
  it('uses the usual places of a usual build, request_start last', () => {
    expect(hooksOf(program)).toEqual(USUAL);
    expect(planProbes(program, GOID)).toMatchObject({ notAttachable: [], fallbacks: [] });
  });

  it('sees requests as they are read where ServeHTTP is inlined, and those of HTTP/2 still there', () => {
    const { sites, fallbacks, notAttachable } = planProbes(without(program, [SERVE, SERVE_HTTP]), GOID);
    expect(sites.slice(-2)).toMatchObject([
      { hook: 'request_read', functionName: SERVE, guarded: false },
      { hook: 'request_start', functionName: SERVE_HTTP, guarded: true },
    ]);
    expect(fallbacks).toMatchObject([{ hook: 'request_start', by: 'request_read' }]);
    expect(fallbacks[0]!.reason).toMatch(
      /readRequest returns to .*serve, because .*ServeHTTP is not called by/,
    );
    expect(notAttachable).toEqual([]);
  });

  it('says that HTTP/2 requests are not seen where their way to ServeHTTP is inlined', () => {
    const inlined = without(program, ['net/http.initALPNRequest.ServeHTTP', SERVE_HTTP]);
    const { sites, notAttachable } = planProbes(inlined, GOID);
    expect(sites.map(({ hook }) => hook)).toEqual(USUAL);
    expect(notAttachable).toMatchObject([{ hook: 'request_start', functionName: SERVE_HTTP }]);
    expect(notAttachable[0]!.reason).toMatch(/inlined.*: HTTP\/2 requests are not seen$/);
  });

  it('follows a function that is inlined between two others', () => {
    // serve -> (finishRequest, inlined) -> close: the call of close is in serve then.
    const close = 'net/http.(*chunkWriter).close';
    const inlined = redirect(program, SERVE, FINISH, close);
    expect(hooksOf(inlined)).toContain('response_close');
    expect(hooksOf(inlined)).not.toContain('request_end');
    // Inlined at one of its calls: as bad as at all.
    const partly = redirect(program, SERVE, 'net/http.(*conn).readRequest', close);
    expect(hooksOf(partly)).toContain('response_close');
    // All three are one: the close that other callers of finishRequest have tells nothing.
    const { sites, notAttachable } = planProbes(without(program, [SERVE, FINISH]), GOID);
    expect(sites.map(({ hook }) => hook)).toEqual(USUAL.filter((hook) => hook !== 'request_end'));
    expect(notAttachable).toMatchObject([{ hook: 'request_end', functionName: FINISH }]);
  });

  it('sees goroutines as newproc1 returns when runqput is inlined', () => {
    const { sites, fallbacks } = planProbes(without(program, [NEWPROC, 'runtime.runqput']), GOID);
    expect(sites[0]).toMatchObject({
      hook: 'goroutine_created',
      functionName: 'runtime.newproc1',
      guarded: false,
    });
    expect(fallbacks).toMatchObject([{ hook: 'goroutine_start', by: 'goroutine_created' }]);
  });

  it('refuses a program when neither place is left, and says how to build it', () => {
    const noGoroutines = without(program, [NEWPROC, 'runtime.runqput'], [NEWPROC, 'runtime.newproc1']);
    const readRequest: [string, string] = [SERVE, 'net/http.(*conn).readRequest'];
    const noRequests = without(program, [SERVE, SERVE_HTTP], readRequest);
    noRequests.set(readRequest[1], []);
    for (const [functions, hook] of [
      [noGoroutines, 'goroutine_start'],
      [noRequests, 'request_start'],
    ] as const) {
      expect(() => planProbes(functions, GOID)).toThrow(
        expect.objectContaining({ reason: 'not_attachable', message: expect.stringContaining(hook) }),
      );
      expect(() => planProbes(functions, GOID)).toThrow(/inlined.*-pgo=off/);
    }
  });

  it('wants no client of a program that has none, and says what a client cannot be probed for', () => {
    const roundTrip = 'net/http.(*persistConn).roundTrip';
    const noClient = new Map([...program, [roundTrip, []]]);
    expect(planProbes(noClient, GOID).notAttachable).toEqual([]);
    expect(hooksOf(noClient)).not.toContain('round_trip');
    // Were it inlinable, we would have to know its callers.
    const inlinable = program.get(roundTrip)!.map((fn) => ({ ...fn, defers: false }));
    const { notAttachable } = planProbes(new Map([...program, [roundTrip, inlinable]]), GOID);
    expect(notAttachable).toMatchObject([{ hook: 'round_trip', functionName: roundTrip }]);
  });
});

function hooksOf(functions: GoFunctions): string[] {
  return planProbes(functions, GOID).sites.map(({ hook }) => hook);
}

/** What inlining leaves of a caller: no call. */
function without(functions: GoFunctions, ...calls: readonly (readonly [string, string])[]) {
  return calls.reduce((changed, [from, to]) => patch(changed, from, to, () => NOP), new Map(functions));
}

function redirect(functions: GoFunctions, from: string, to: string, instead: string) {
  const target = functions.get(instead)![0]!.vaddr;
  return patch(functions, from, to, (end) => {
    const call = Buffer.from([0xe8, 0, 0, 0, 0]);
    call.writeInt32LE(target - end, 1);
    return call;
  });
}

const NOP = Buffer.from('0f1f440000', 'hex');

function patch(functions: GoFunctions, from: string, to: string, code: (end: number) => Buffer) {
  const patched = functions.get(from)!.map((fn) => {
    const copy = Buffer.from(fn.code);
    for (const target of functions.get(to)!)
      for (const at of branchesTo(fn, target)) code(fn.vaddr + at + 5).copy(copy, at);
    return { ...fn, code: copy };
  });
  return new Map([...functions, [from, patched]]);
}
