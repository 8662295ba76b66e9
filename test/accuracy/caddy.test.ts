// A stripped Go server as Debian ships it, without any rebuild: caddy as a reverse proxy.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { flowAnswers, judge } from '../support/accuracy.ts';
import { runLoad, startDownstream } from '../support/targets.ts';
import { truthOf } from '../support/truth.ts';
import { Up } from '../support/up.ts';
import { CADDY, runCaddy, startCaddy } from './caddy.ts';
import { Recorder } from './recorder.ts';

const REQUESTS = 600;
const CLIENTS = 100;
let up: Up;
let recorder: Recorder;

beforeAll(async () => {
  up = await Up.start(['--target', CADDY]);
  recorder = await Recorder.open(up);
});

afterAll(async () => {
  await recorder.close();
  await up.stop();
});

test.each([
  ['a connection for each request', 'fresh'],
  ['a pool of HTTP/1.1', 'pool'],
  ['HTTP/2 over TLS', 'h2'],
] as const)('upstream by %s: each request is named, with its trace id', async (_name, upstream) => {
  const { flowtag } = await runCaddy(upstream, { recorder, requests: REQUESTS, clients: CLIENTS });
  expect(flowtag.problems).toEqual([]);
  expect(flowtag).toMatchObject({ wrong: 0, repeated: 0, use: { of: REQUESTS, found: REQUESTS } });
});

test('what is stored is what was live: one flow a request, of the process that made it', async () => {
  const downstream = await startDownstream();
  const caddy = await startCaddy(downstream, 'fresh');
  try {
    await runLoad({ server: caddy, path: '/stored', requests: REQUESTS, clients: CLIENTS });
    const truth = truthOf(await downstream.requests());
    const isMine = (flow: object) => 'process.pid' in flow && flow['process.pid'] === caddy.pid;
    const stored = await up.storedUntil((all) => all.filter(isMine).length >= REQUESTS);
    const flows = stored.filter(isMine);
    expect(judge(truth, flowAnswers(flows))).toMatchObject({
      problems: [],
      use: { of: REQUESTS, found: REQUESTS },
    });
    expect(flows).toHaveLength(REQUESTS);
    for (const flow of flows) expect(flow['process.executable.name']).toBe('caddy');
  } finally {
    await caddy.stop();
    await downstream.stop();
  }
});
