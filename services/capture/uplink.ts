// The bus as capture sees it: not there yet, perhaps, and no reason to wait. What is captured meanwhile is in the outbox.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bus, type BusOptions, connectBus } from '../runtime/bus.ts';

/** For a bus that is there this is enough, and all begins in order. */
const PATIENCE_MS = 250;

export class Uplink implements Pick<Bus, 'connected' | 'publish'> {
  private readonly abort = new AbortController();
  private readonly connecting: Promise<Bus>;
  private bus: Bus | undefined;
  private problem: string | undefined;

  /** Throws ConfigError when the credential cannot be used. */
  static async open(options: Omit<BusOptions, 'signal' | 'onProblem'>): Promise<Uplink> {
    const uplink = new Uplink(options);
    await Promise.race([uplink.connecting, sleep(PATIENCE_MS)]);
    if (!uplink.bus) options.log.warn('no bus yet: capturing without it, events wait');
    return uplink;
  }

  private constructor(options: Omit<BusOptions, 'signal' | 'onProblem'>) {
    const { signal } = this.abort;
    const onProblem = (problem: string): void => {
      this.problem = problem;
    };
    this.connecting = connectBus({ ...options, signal, onProblem });
    this.whenReached((bus) => {
      this.bus = bus;
    });
  }

  get connected(): boolean {
    return this.bus?.connected ?? false;
  }

  /** What the operator should know. */
  get note(): string | undefined {
    if (this.bus) return undefined;
    return `the bus was not reached since the start${this.problem ? ` (${this.problem})` : ''}: events wait`;
  }

  /** For the heartbeat: nobody hears it before the bus is there. */
  publish(subject: string, schema: string, data: Uint8Array): void {
    this.bus?.publish(subject, schema, data);
  }

  /** At once when it is there; never when this is closed before. */
  whenReached(use: (bus: Bus) => void): void {
    this.connecting.then(use, () => undefined);
  }

  async close(): Promise<void> {
    this.abort.abort();
    await this.connecting.then((bus) => bus.close()).catch(() => undefined);
  }
}
