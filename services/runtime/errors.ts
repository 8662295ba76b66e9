// Errors with a stable code: what a caller or an operator can act on. Everything else is a defect and crashes.

export interface FlowtagErrorOptions {
  readonly cause?: unknown;
  /** Exit code of the process when nobody handles it: 1 failed, 2 usage or configuration, 3 not permitted. */
  readonly exitCode?: number;
}

export class FlowtagError extends Error {
  readonly code: string;
  readonly exitCode: number;

  constructor(code: string, message: string, options: FlowtagErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = code;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The configuration cannot be used; the message lists every problem, one per line. */
export class ConfigError extends FlowtagError {
  constructor(code: string, message: string, options: FlowtagErrorOptions = {}) {
    super(code, message, { exitCode: 2, ...options });
  }
}

/**
 * The bus did not do what was asked. Codes: `ABORTED` (stopped before the first connection), `TIMEOUT`,
 * `NO_RESPONDERS`, `NOT_PERMITTED` (to this identity), `NOT_PROVISIONED` (and not permitted to make it), `FENCED` (someone
 * else wrote the position), `STREAM_MISMATCH`, `STREAM_REPLACED`, `JETSTREAM`.
 */
export class BusError extends FlowtagError {}
