// Which programs tell what becomes of sockets: three ways to the same facts. What a kernel has is found out by trying,
// because versions say little: distributions leave out kprobes, an architecture has no fentry, lockdown takes both away.

export const BACKENDS = ['tracepoint', 'fentry', 'kprobe'] as const;
export type Backend = (typeof BACKENDS)[number];

interface SocketPrograms {
  /** Connects, closes, listeners. */
  readonly state: readonly string[];
  /** Uses of connections that are open already: one of these, whichever the kernel has. */
  readonly send: readonly string[];
}

/** By their names in bpf/flowtag.bpf.c. */
export const SOCKET_PROGRAMS: Readonly<Record<Backend, SocketPrograms>> = {
  tracepoint: { state: ['tp_state'], send: ['tp_send', 'tp_sent'] },
  fentry: { state: ['fentry_state', 'fentry_listen'], send: ['fentry_send'] },
  kprobe: { state: ['kprobe_state', 'kprobe_listen'], send: ['kprobe_send'] },
};

/** Tracepoints on sends: before they begin (Linux 6.16), and when they are done (Linux 6.3). */
export const SEND_TRACEPOINTS = { before: 'tcp_sendmsg_locked', after: 'sock_send_length' } as const;
/** none: the tracepoints show only connects and closes, not the uses between. */
export type SendTracepoint = keyof typeof SEND_TRACEPOINTS | 'none';

const SEND_PROGRAMS = { before: 'tp_send', after: 'tp_sent', none: undefined } as const;

/** Why the tracepoints are not the first choice. */
export const TRACEPOINT_LATER: Readonly<Record<Exclude<SendTracepoint, 'before'>, string>> = {
  after: `no ${SEND_TRACEPOINTS.before} (Linux 6.16), only ${SEND_TRACEPOINTS.after}, after the send`,
  none: `no ${SEND_TRACEPOINTS.before} (Linux 6.16) and no ${SEND_TRACEPOINTS.after} (Linux 6.3)`,
};

export interface Candidate {
  readonly backend: Backend;
  /** The program that sees uses, if there is one. */
  readonly send: string | undefined;
}

/** A backend that was not taken, and why. */
export interface PassedOver {
  readonly backend: Backend;
  readonly reason: string;
}

/** In the order to try: what sees everything first, of these what sees it in time, and then what needs fewest rights. */
export function candidatesFor(wanted: Backend | 'auto', sends: SendTracepoint): Candidate[] {
  const tracepoint: Candidate = { backend: 'tracepoint', send: SEND_PROGRAMS[sends] };
  const fentry: Candidate = { backend: 'fentry', send: 'fentry_send' };
  const kprobe: Candidate = { backend: 'kprobe', send: 'kprobe_send' };
  const order = {
    before: [tracepoint, fentry, kprobe],
    after: [fentry, tracepoint, kprobe],
    none: [fentry, kprobe, tracepoint],
  }[sends];
  return wanted === 'auto' ? order : order.filter(({ backend }) => backend === wanted);
}

/** Every program that a candidate attaches. */
export function programsOf({ backend, send }: Candidate): string[] {
  return [...SOCKET_PROGRAMS[backend].state, ...(send === undefined ? [] : [send])];
}

/** Every socket program that a candidate does without. */
export function unusedPrograms(candidate: Candidate): string[] {
  const used = programsOf(candidate);
  return Object.values(SOCKET_PROGRAMS)
    .flatMap(({ state, send }) => [...state, ...send])
    .filter((name) => !used.includes(name));
}

/** In words: `fentry (tracepoint: …)`. */
export function explain(backend: Backend, passedOver: readonly PassedOver[]): string {
  if (passedOver.length === 0) return backend;
  return `${backend} (${passedOver.map((each) => `${each.backend}: ${each.reason}`).join('; ')})`;
}
