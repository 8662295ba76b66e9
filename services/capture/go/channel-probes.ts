// Where the runtime passes a value through a channel: the probes of the channel hand-over, and what they read there.
// runtime/chan.go and runtime/select.go have had these calls, in this shape, from Go 1.18 to 1.27.
import { branchesTo, type GoFunction, type GoFunctions } from './program.ts';

export type ChannelHook =
  | 'channel_put' // into a buffer
  | 'channel_get' // out of a buffer
  | 'channel_send' // to a goroutine that waits for a value
  | 'channel_receive' // from a goroutine that waits to be rid of one
  | 'select_get' // as channel_get and channel_receive, by a select statement: one frame less to its caller
  | 'select_receive';

export interface ChannelSite {
  readonly hook: ChannelHook;
  readonly fileOffset: bigint;
  readonly functionName: string;
  readonly guarded: false;
}

export interface ChannelProbes {
  /** All that there are, or none: with half of them a worker would keep the request of an earlier job. */
  readonly sites: readonly ChannelSite[];
  /** Why there are none, else ''. */
  readonly reason: string;
}

const SEND = 'runtime.send';
const RECEIVE = 'runtime.recv';
const COPY = 'runtime.typedmemmove';
const CLEAR = 'runtime.typedmemclr';

/** The functions that work under a channel's lock, with the hook at each of their calls. */
const OPERATIONS: readonly (readonly [
  name: string,
  hooks: Partial<Record<'put' | 'get' | 'send' | 'receive', ChannelHook>>,
])[] = [
  ['runtime.chansend', { put: 'channel_put', send: 'channel_send' }],
  ['runtime.chanrecv', { get: 'channel_get', receive: 'channel_receive' }],
  [
    'runtime.selectgo',
    { put: 'channel_put', get: 'select_get', send: 'channel_send', receive: 'select_receive' },
  ],
];

/** What compiled code calls, and what it must in turn call: profile-guided builds may inline the operation there. */
const ENTRIES: readonly (readonly [name: string, operation: string])[] = [
  ['runtime.chansend1', 'runtime.chansend'],
  ['runtime.selectnbsend', 'runtime.chansend'],
  ['runtime.chanrecv1', 'runtime.chanrecv'],
  ['runtime.chanrecv2', 'runtime.chanrecv'],
  ['runtime.selectnbrecv', 'runtime.chanrecv'],
  ['reflect.chansend0', 'runtime.chansend'],
  ['reflect.chanrecv', 'runtime.chanrecv'],
];

export const CHANNEL_FUNCTIONS: readonly string[] = [
  ...OPERATIONS.map(([name]) => name),
  ...ENTRIES.map(([name]) => name),
  SEND,
  RECEIVE,
  COPY,
  CLEAR,
];

/**
 * On the calls themselves: the channel is locked, its operands are in the registers, and the kernel emulates a call.
 * One instruction each, or the build is not the one that this was written for and there are no probes at all.
 */
export function planChannelProbes(functions: GoFunctions): ChannelProbes {
  const sites: ChannelSite[] = [];
  for (const [name, hooks] of OPERATIONS) {
    const [operation, ...others] = functions.get(name) ?? [];
    if (operation === undefined || others.length > 0) return refused(name, 'is not in the executable once');
    const found = callsOf(operation, functions);
    for (const kind of KINDS) {
      const hook = hooks[kind];
      const calls = found.filter((call) => call.kind === kind);
      if (calls.length !== (hook === undefined ? 0 : 1))
        return refused(
          name,
          `has ${calls.length} places that ${WORDS[kind]}, not ${hook === undefined ? 0 : 1}`,
        );
      if (hook !== undefined)
        sites.push({
          hook,
          fileOffset: BigInt(operation.fileOffset + calls[0]!.at),
          functionName: name,
          guarded: false,
        });
    }
  }
  for (const [name, operation] of ENTRIES)
    for (const entry of functions.get(name) ?? [])
      if (!functions.get(operation)!.some((target) => branchesTo(entry, target).length > 0))
        return refused(name, `does not call ${operation} (inlined there, as profile-guided builds do)`);
  return { sites, reason: '' };
}

type Kind = 'put' | 'get' | 'send' | 'receive';

const KINDS: readonly Kind[] = ['put', 'get', 'send', 'receive'];
const WORDS: Readonly<Record<Kind, string>> = {
  put: 'copy a value into a buffer',
  get: 'take a value out of a buffer',
  send: `call ${SEND}`,
  receive: `call ${RECEIVE}`,
};

function callsOf(operation: GoFunction, functions: GoFunctions): { kind: Kind; at: number }[] {
  const to = (name: string) => (functions.get(name) ?? []).flatMap((target) => branchesTo(operation, target));
  const clears = to(CLEAR);
  const copies = to(COPY);
  const calls = [...to(SEND), ...to(RECEIVE), ...copies, ...clears].sort((a, b) => a - b);
  // A value that is taken out is copied, unless it is thrown away, and then cleared in the buffer: the probe is
  // on the latter. One that is put in is only copied.
  const inBuffer = copies.map((copy): { kind: Kind; at: number } => {
    const next = calls[calls.indexOf(copy) + 1];
    return next !== undefined && clears.includes(next)
      ? { kind: 'get', at: next }
      : { kind: 'put', at: copy };
  });
  return [
    ...inBuffer,
    ...to(SEND).map((at) => ({ kind: 'send' as const, at })),
    ...to(RECEIVE).map((at) => ({ kind: 'receive' as const, at })),
  ];
}

function refused(name: string, why: string): ChannelProbes {
  return { sites: [], reason: `${name} ${why}` };
}
