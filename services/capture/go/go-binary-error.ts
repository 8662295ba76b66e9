// The one error of this folder: why an executable cannot be probed, in words for the user who named it.

export type GoBinaryReason =
  | 'not_readable'
  | 'not_elf'
  | 'not_amd64'
  | 'not_go'
  | 'unsupported_go'
  | 'no_net_http'
  | 'no_symbols'
  | 'not_attachable';

/** `message` says what is wrong and what to do; it names no path, the caller knows which file it asked about. */
export class GoBinaryError extends Error {
  readonly reason: GoBinaryReason;

  constructor(reason: GoBinaryReason, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'GoBinaryError';
    this.reason = reason;
  }
}
