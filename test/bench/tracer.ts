// What a set-up puts beside the servers.

export interface Tracer {
  /** Its processes by name: their processor time is its own cost. */
  readonly processes: Readonly<Record<string, number>>;
  /** What it says it saw. Throws when that is not the load: a dead probe costs nothing. */
  seen(requests: number): Promise<Readonly<Record<string, number>>>;
  /** Detaches and ends. */
  stop(): Promise<void>;
}

export const NO_TRACER: Tracer = {
  processes: {},
  seen: () => Promise.resolve({}),
  stop: () => Promise.resolve(),
};
