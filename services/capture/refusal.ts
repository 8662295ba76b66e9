// Why an executable is not probed.
import { GoBinaryError } from './go/go-binary-error.ts';
import { BpfError } from './libbpf.ts';

/** For the user; `notGo`: not a Go HTTP server, so that a wide target is silent. */
export interface Refusal {
  readonly reason: string;
  readonly notGo: boolean;
}

/** The process ended meanwhile, or we were short of something: the next process of that file may fare better. */
const PASSING = new Set(['ENOENT', 'ESRCH', 'EMFILE', 'ENFILE', 'ENOMEM']);

export function isPassing(error: unknown): boolean {
  const { code, cause } = error as NodeJS.ErrnoException;
  return PASSING.has(code ?? (cause as NodeJS.ErrnoException | undefined)?.code ?? '');
}

export function refusalOf(error: unknown): Refusal {
  if (error instanceof GoBinaryError)
    return {
      reason: error.message,
      notGo: ['not_elf', 'not_amd64', 'not_go', 'no_net_http'].includes(error.reason),
    };
  if (error instanceof BpfError) return { reason: error.message, notGo: false };
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM')
    return { reason: 'not readable: run as root or with CAP_SYS_PTRACE', notGo: false };
  if (code === 'ENOENT' || code === 'ESRCH') return { reason: 'no such file or process', notGo: false };
  return { reason: message, notGo: false };
}
