// Which programs tell what becomes of sockets: three ways to the same facts. What a kernel has is found out by trying,
// because versions say little: distributions leave out kprobes, an architecture has no fentry, lockdown takes both away.

export const BACKENDS = ['tracepoint', 'fentry', 'kprobe'] as const;
export type Backend = (typeof BACKENDS)[number];

interface SocketPrograms {
  /** Connects, closes, listeners. */
  readonly state: readonly string[];
  /** Uses of connections that are open already. */
  readonly send: string;
}

/** By their names in bpf/flowtag.bpf.c. */
export const SOCKET_PROGRAMS: Readonly<Record<Backend, SocketPrograms>> = {
  tracepoint: { state: ['tp_state'], send: 'tp_send' },
  fentry: { state: ['fentry_state', 'fentry_listen'], send: 'fentry_send' },
  kprobe: { state: ['kprobe_state', 'kprobe_listen'], send: 'kprobe_send' },
};

/** Came with Linux 6.16; without it the tracepoints show only connects and closes, not the uses between. */
export const SEND_TRACEPOINT = 'tcp_sendmsg_locked';

export interface Candidate {
  readonly backend: Backend;
  readonly seesUses: boolean;
}

/** A backend that was not taken, and why. */
export interface PassedOver {
  readonly backend: Backend;
  readonly reason: string;
}

/** In the order to try: what sees everything first, and of these what costs least and changes least. */
export function candidatesFor(wanted: Backend | 'auto', hasSendTracepoint: boolean): Candidate[] {
  const tracepoint = { backend: 'tracepoint', seesUses: hasSendTracepoint } as const;
  const others = (['fentry', 'kprobe'] as const).map((backend) => ({ backend, seesUses: true }));
  if (wanted !== 'auto') return [tracepoint, ...others].filter(({ backend }) => backend === wanted);
  return hasSendTracepoint ? [tracepoint, ...others] : [...others, tracepoint];
}

/** Every socket program that a candidate does without. */
export function unusedPrograms({ backend, seesUses }: Candidate): string[] {
  return BACKENDS.flatMap((each) => {
    const { state, send } = SOCKET_PROGRAMS[each];
    if (each !== backend) return [...state, send];
    return seesUses ? [] : [send];
  });
}

/** In words: `fentry (tracepoint: …)`. */
export function explain(backend: Backend, passedOver: readonly PassedOver[]): string {
  if (passedOver.length === 0) return backend;
  return `${backend} (${passedOver.map((each) => `${each.backend}: ${each.reason}`).join('; ')})`;
}
