// One connection to the bus: the first one is waited for, lost ones come back by themselves, for ever.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, ErrorCode, type Msg, type NatsConnection, type NatsError } from 'nats';
import { accessOptions, type BusAccess } from './bus-access.ts';
import { toHeaders } from './bus-message.ts';
import { settledWithin } from './deadline.ts';
import { BusError } from './errors.ts';
import { type Logger, Recurrence } from './log.ts';
import { withoutCredentials } from './server-url.ts';

export interface ConnectionOptions extends BusAccess {
  readonly server: string;
  readonly name: string;
  readonly signal?: AbortSignal;
  readonly log: Logger;
  readonly onProblem?: (problem: string) => void;
}

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 2_000;
export const TICK_MS = 200;
/** Problems told apart; a server may put anything into their texts. */
const MAX_PROBLEMS = 100;

/**
 * Tries until it succeeds; logs when the problem changes. Throws BusError ABORTED when `signal` aborts, ConfigError when
 * the credential cannot be used.
 */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { server, name, signal, log, onProblem } = options;
  const access = accessOptions(options, server, log);
  const changes = new Recurrence();
  let said = '';
  for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_RETRY_MS)) {
    if (signal?.aborted) throw stopped(server);
    try {
      const nats = await connect({
        servers: server.split(','),
        name,
        ...access,
        maxReconnectAttempts: -1, // the default gives up after 10 × 2 s
        reconnectTimeWait: 250,
        reconnectJitter: 250,
        pingInterval: 5_000, // with maxPingOut 2: a half-open link is noticed after 10 to 15 s, not 4 minutes
        maxPingOut: 2,
        timeout: 4_000,
        noAsyncTraces: true, // stack traces of every request cost more than the request
        ignoreAuthErrorAbort: true, // credentials may be renewed while we retry
      });
      if (said !== '') log.info({ server: withoutCredentials(server) }, 'bus reached');
      if (!signal?.aborted) return new Connection(nats, access.inboxPrefix, log.child({ connection: name }));
      await nats.close();
    } catch (error) {
      const problem = (error as Error).message;
      onProblem?.(problem);
      if (problem !== said && changes.isWorthLogging(performance.now()))
        log.warn({ server: withoutCredentials(server), problem }, 'bus not reachable, retrying');
      said = problem;
      await sleep(waitMs, undefined, signal ? { signal } : {}).catch(() => undefined);
    }
  }
}

export class Connection {
  readonly nats: NatsConnection;
  /** Of this identity: see schemas/permissions.ts. */
  readonly inboxPrefix: string;
  private readonly log: Logger;
  private readonly listeners = new Set<(up: boolean) => void>();
  private readonly tickers = new Set<() => void>();
  private ticking: NodeJS.Timeout | undefined;
  private readonly losses = new Recurrence();
  private readonly problems = new Map<string, Recurrence>();
  private lossSaid = false;
  private state: 'up' | 'down' | 'closed' = 'up';

  constructor(nats: NatsConnection, inboxPrefix: string, log: Logger) {
    this.nats = nats;
    this.inboxPrefix = inboxPrefix;
    this.log = log;
    void this.watch();
  }

  get up(): boolean {
    return this.state === 'up';
  }

  /** Calls back at every change; the returned function ends that. */
  onChange(listener: (up: boolean) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Calls back every TICK_MS; the returned function ends that. One timer for all: to wake the process up costs more than
   * what each does then.
   */
  onTick(listener: () => void): () => void {
    this.tickers.add(listener);
    this.ticking ??= setInterval(() => {
      for (const tick of this.tickers) tick();
    }, TICK_MS);
    return () => {
      if (!this.tickers.delete(listener) || this.tickers.size > 0) return;
      clearInterval(this.ticking);
      this.ticking = undefined;
    };
  }

  /** Resolves when the connection is up, or `signal` aborts. */
  async whenUp(signal: AbortSignal): Promise<void> {
    if (this.up || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const stopWatching = this.onChange(done);
      signal.addEventListener('abort', done);
      function done(): void {
        stopWatching();
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
  }

  /** Throws BusError TIMEOUT, also when the connection is away, NO_RESPONDERS or NOT_PERMITTED. */
  async request(
    subject: string,
    data: Uint8Array,
    schema: string,
    timeoutMs: number,
    more?: Readonly<Record<string, string>>,
  ): Promise<Msg> {
    try {
      return await this.nats.request(subject, data, { timeout: timeoutMs, headers: toHeaders(schema, more) });
    } catch (cause) {
      const { code } = cause as Partial<NatsError>;
      if (code === ErrorCode.PermissionsViolation)
        throw new BusError('NOT_PERMITTED', `${subject}: not permitted to this identity`, { cause });
      const nobody = code === ErrorCode.NoResponders;
      const cure = subject.startsWith('$JS.')
        ? '; is JetStream enabled on the server (nats-server -js)?'
        : '';
      if (nobody)
        throw new BusError('NO_RESPONDERS', `${subject}: nobody answers on the bus${cure}`, { cause });
      throw new BusError('TIMEOUT', `${subject}: no answer within ${timeoutMs} ms`, { cause });
    }
  }

  /** Sends what is buffered, for at most `timeoutMs` when the server is away, then closes. */
  async close(timeoutMs = 1_000): Promise<void> {
    if (this.state === 'closed') return;
    if (this.up) await settledWithin(this.nats.flush(), timeoutMs);
    this.state = 'closed';
    await this.nats.close();
  }

  private async watch(): Promise<void> {
    for await (const { type, data } of this.nats.status()) {
      if (type === 'disconnect') this.change('down');
      else if (type === 'reconnect') this.change('up');
      else if (type === 'error') this.onRefusal(String(data));
    }
    if (this.state !== 'closed') this.log.error('bus connection closed for good');
    this.state = 'closed';
  }

  private onRefusal(problem: string): void {
    const key = this.problems.has(problem) || this.problems.size < MAX_PROBLEMS ? problem : 'others';
    const recurrence = this.problems.get(key) ?? new Recurrence();
    this.problems.set(key, recurrence);
    if (recurrence.isWorthLogging(performance.now())) this.log.error({ problem }, 'bus refused an operation');
  }

  private change(state: 'up' | 'down'): void {
    if (this.state === 'closed' || this.state === state) return;
    this.state = state;
    if (state === 'down') this.lossSaid = this.losses.isWorthLogging(performance.now());
    if (this.lossSaid && state === 'up')
      this.log.info({ server: this.nats.getServer() }, 'bus connection restored');
    else if (this.lossSaid) this.log.warn('bus connection lost, reconnecting');
    for (const listener of this.listeners) listener(this.up);
  }
}

function stopped(server: string): BusError {
  const shown = withoutCredentials(server);
  return new BusError('ABORTED', `stopped before the bus at ${shown} was reached`, { exitCode: 0 });
}
