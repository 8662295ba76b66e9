import picocolors from 'picocolors';
import { describe, expect, it } from 'vitest';
import { FLOW_COLUMNS, FLOW_FIELDS, type Flow } from '../../../schemas/rows.ts';
import { flowCompact, flowJson, flowWide, formatFlow } from '../../../services/cli/format.ts';
import { orphanFlow, sampleFlow } from '../../support/sample-flow.ts';

const plain = picocolors.createColors(false);
const colored = picocolors.createColors(true);
const compact = (flow: Flow) => flowCompact(flow, plain);

describe('compact', () => {
  it('is the line of the design', () => {
    expect(compact(sampleFlow())).toBe(
      '13:00:01.123 node-a orders[4321] GET /v1/orders/42 | 10.0.0.7:40522 -> 10.0.0.9:5432 new +2.1ms lineage/2',
    );
  });

  it.each<[string, Partial<Flow>, string]>([
    [
      'exact has no depth',
      { 'flowtag.attribution.verdict': 'exact', 'flowtag.attribution.depth': 0 },
      'new +2.1ms exact',
    ],
    [
      'pooled',
      {
        'flowtag.attribution.verdict': 'pooled',
        'flowtag.connection': 'reused',
        'flowtag.attribution.depth': null,
      },
      'reused +2.1ms pooled',
    ],
    [
      'pooled from another goroutine',
      {
        'flowtag.attribution.verdict': 'pooled',
        'flowtag.connection': 'reused',
        'flowtag.attribution.depth': 2,
      },
      'reused +2.1ms pooled/2',
    ],
    [
      'a connection that was open before capture looked',
      {
        'flowtag.attribution.verdict': 'pooled',
        'flowtag.connection': 'reused',
        'flowtag.attribution.depth': 0,
        'flowtag.attribution.reason': 'predates_capture',
      },
      'reused +2.1ms pooled/0 predates_capture',
    ],
    ['a failed connect says why', { 'error.type': 'ECONNREFUSED' }, 'new ECONNREFUSED +2.1ms lineage/2'],
  ])('%s', (_, change, end) => {
    expect(compact(sampleFlow(change))).toMatch(new RegExp(` ${end.replaceAll('+', '\\+')}$`));
  });

  it('says why there is no request', () => {
    expect(compact(orphanFlow())).toBe(
      '13:00:01.123 node-a orders[4321] - | 10.0.0.7:40522 -> 10.0.0.9:5432 new none/no_request',
    );
  });

  it('brackets IPv6', () => {
    const flow = sampleFlow({ 'network.local.address': '::1', 'network.peer.address': '2001:db8::9' });
    expect(compact(flow)).toContain(' [::1]:40522 -> [2001:db8::9]:5432 ');
  });

  it('falls back to the executable, then to a dash', () => {
    expect(compact(sampleFlow({ 'service.name': null }))).toContain(' orders-server[4321] ');
    const none = sampleFlow({ 'service.name': null, 'process.executable.name': null, 'process.pid': null });
    expect(compact(none)).toContain('node-a - GET');
  });

  it('prints a flow without any value', () => {
    const empty = Object.fromEntries(FLOW_COLUMNS.map((name) => [name, null])) as Flow;
    expect(compact(empty)).toBe('- - - - | -:- -> -:- - -');
    expect(flowJson(empty)).toBe('{}');
  });

  it('shows a query that was captured', () => {
    expect(compact(sampleFlow({ 'url.query': 'a=1' }))).toContain('GET /v1/orders/42?a=1 |');
  });

  it('lets no captured text reach the terminal or forge a column', () => {
    const line = compact(
      sampleFlow({
        'url.path': '/\x1b[2J | 9.9.9.9:1 -> \u202e\u009b\r\n',
        'host.name': 'a b',
        'service.name': 'x\x07',
        'http.request.method': 'G\x1bT',
      }),
    );
    expect(line).toContain('/\\x1b[2J\\x20\\x7c\\x209.9.9.9:1\\x20->\\x20\\u{202e}\\x9b\\x0d\\x0a |');
    expect(line).toContain(' a\\x20b x\\x07[4321] G\\x1bT ');
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  it('is coloured only when asked', () => {
    expect(compact(sampleFlow())).not.toContain('\x1b');
    const line = flowCompact(sampleFlow({ 'url.path': '/\x1b[31m' }), colored);
    expect(line).toContain('\x1b[36m');
    expect(line).not.toContain('\x1b[31m');
  });
});

describe('wide', () => {
  it('names the caller and its handler', () => {
    const line = (change: Partial<Flow>) => flowWide(sampleFlow(change), plain);
    const caller = {
      'code.function.name': 'main.call',
      'code.file.path': '/src/main.go',
      'code.line.number': 12,
      'flowtag.request.handler': 'main.handle',
    };
    expect(line(caller)).toMatch(
      / new \+2\.1ms lineage\/2 by main\.call \(\/src\/main\.go:12\) .*flowtag\.request\.handler=main\.handle/,
    );
    expect(line({ 'code.function.name': 'main.f x\x1b' })).toContain(' by main.f\\x20x\\x1b (-) ');
    expect(line({ ...caller, 'code.line.number': null })).toContain(' by main.call (/src/main.go) ');
    expect(line({})).not.toContain(' by ');
    expect(line({ 'code.stacktrace': 'main.call\n\t/src/main.go:12\n' })).toContain(
      ' code.stacktrace="main.call\\x0a\\x09/src/main.go:12\\x0a"',
    );
  });

  it('adds the other fields that have a value', () => {
    const line = flowWide(
      sampleFlow({
        'flowtag.request.handler': 'main.(*Handler) serve',
        'flowtag.connect.duration': 350_000,
        'process.creation.time': 0n,
        trace_id: 'a"\x1b',
      }),
      plain,
    );
    expect(line).toMatch(/^2026-11-22 13:00:01\.123456 node-a orders\[4321\] GET/);
    expect(line).toContain(' flowtag.request.handler="main.(*Handler) serve"');
    expect(line).toContain(' flowtag.connect.duration=0.350ms');
    expect(line).toContain(' process.creation.time=1970-01-01T00:00:00.000000000Z');
    expect(line).toContain(' trace_id="a\\"\\x1b"');
    expect(line).not.toContain('span_id');
    expect(line).not.toContain('service.name=');
  });
});

describe('json', () => {
  it('has exactly the fields with a value, times RFC 3339 with nine decimals', () => {
    const flow = sampleFlow({ time: 1_794_000_000_000_000_001n });
    const out = JSON.parse(flowJson(flow));
    expect(Object.keys(out)).toEqual(FLOW_COLUMNS.filter((name) => flow[name] !== null));
    expect(out.time).toBe('2026-11-06T21:20:00.000000001Z');
    expect(out['process.pid']).toBe(4321);
    expect(out['network.local.address']).toBe('10.0.0.7');
  });

  it('never cut, coloured or broken into lines; any text comes back', () => {
    const path = `/${'x'.repeat(5000)}\x1b\x7f\u009b\u202e\u2028\ud800\u{e0041}"\\\n`;
    const line = formatFlow('json', sampleFlow({ 'url.path': path }), colored);
    expect(line).toMatch(/^[\x20-\x7e]*$/);
    expect(JSON.parse(line)['url.path']).toBe(path);
  });

  it('has a name for each field of a flow', () => {
    const full = Object.fromEntries(
      Object.entries(FLOW_FIELDS).map(([name, type]) => [
        name,
        type === 'string' ? 's' : type === 'time' ? 1n : 0,
      ]),
    ) as Flow;
    expect(Object.keys(JSON.parse(flowJson(full)))).toEqual(FLOW_COLUMNS);
  });
});
