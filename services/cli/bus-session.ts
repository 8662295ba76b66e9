// The bus for a verb: reached within seconds or not at all. Services retry for ever, people want to know.
import { connect as connectSocket } from 'node:net';
import { type Bus, type BusAccess, connectBus } from '../runtime/bus.ts';
import { BusError, FlowtagError } from '../runtime/errors.ts';
import { aborted } from '../runtime/lifecycle.ts';
import { createLogger } from '../runtime/log.ts';
import { withoutCredentials } from '../runtime/server-url.ts';
import type { ServerChoice } from './server-choice.ts';

export async function openBus(choice: ServerChoice, access: BusAccess, timeoutMs = 2_500): Promise<Bus> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const problem = await reachAny(choice.server.split(','), deadline);
  if (problem !== undefined) throw unreachable(choice, problem);
  let refusal: string | undefined;
  const connecting = connectBus({
    ...access,
    server: choice.server,
    name: 'flowtag-cli',
    signal: deadline,
    log: createLogger('cli', 'silent'),
    onProblem: (text) => {
      refusal = text;
    },
  });
  const bus = await Promise.race([connecting.catch(noneWhenStopped), aborted(deadline)]);
  if (bus) return bus;
  connecting.then((tooLate) => tooLate.close()).catch(() => undefined);
  if (refusal !== undefined && refusal !== NOT_NATS) throw refused(choice, refusal);
  throw unreachable(choice, `something listens there, but did not speak NATS within ${timeoutMs} ms`);
}

/** The client's words for a greeting that is none of NATS. */
const NOT_NATS = 'unexpected response from server';

function noneWhenStopped(error: unknown): undefined {
  if (!(error instanceof BusError)) throw error;
}

function refused({ server, origin }: ServerChoice, problem: string): FlowtagError {
  return new FlowtagError(
    'BUS_REFUSED',
    `no session with the NATS server at ${withoutCredentials(server)} (${origin}): ${problem}\n` +
      '  who are you: --creds FILE, as made by: flowtag enroll --role viewer NAME\n' +
      '  and is it the right server: --tls-ca FILE with the certificate that vouches for it',
  );
}

/** Why none of the servers accepts a connection, or undefined when one does. */
async function reachAny(servers: readonly string[], deadline: AbortSignal): Promise<string | undefined> {
  const problems = await Promise.all(servers.map((server) => reach(server, deadline)));
  return problems.includes(undefined) ? undefined : problems.join('; ');
}

function reach(server: string, deadline: AbortSignal): Promise<string | undefined> {
  const { hostname, port } = new URL(server);
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[|\]$/g, '');
    const socket = connectSocket({ host, port: Number(port || 4222) });
    const settle = (problem: string | undefined): void => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('connect', () => settle(undefined));
    // Several addresses of one name fail as an AggregateError, whose own message is empty.
    socket.once('error', (error: NodeJS.ErrnoException) =>
      settle(error.message || (error.code ?? error.name)),
    );
    deadline.addEventListener('abort', () => settle('no answer'), { once: true });
  });
}

function unreachable({ server, origin }: ServerChoice, problem: string): FlowtagError {
  return new FlowtagError(
    'BUS_UNREACHABLE',
    `no NATS server at ${withoutCredentials(server)} (${origin}): ${problem}\n` +
      '  start everything on this machine with: npm start\n' +
      '  or name a server that runs: --server nats://HOST:4222, or the data directory of `up`: --data-dir DIR',
  );
}
