// From the call stack that an event names to the function that made the call. Each stack is read and symbolised
// once: there are as many as the programs have call sites, however many calls they make.
import type { CallerFacts } from './caller-table.ts';
import type { Symbols } from './executables.ts';
import { callerOf } from './go/caller.ts';
import { stackText } from './go/frame-text.ts';
import { ALL_DOUBT, type Doubt } from './go/workers.ts';

const MAX_REMEMBERED = 16_384; // as many as the kernel's map holds
/** Goroutines that started each other, one by one: the caller is never far. */
const MAX_STACKS = 16;
const MAX_FRAMES = 64; // STACK_FRAMES in bpf/events.h

export interface CallersOptions {
  /** Undefined when the kernel had to push it out. */
  readonly stack: (id: number) => { readonly parent: number; readonly offsets: Uint32Array } | undefined;
  readonly symbolsOf: (binary: number) => Symbols | undefined;
  /** Give the whole stacks too. */
  readonly withStacks: boolean;
}

export class Callers {
  /** Events whose stack, or whose program, was gone before it could be read. */
  unknown = 0;
  private readonly options: CallersOptions;
  private readonly known = new Map<number, { readonly binary: number; readonly facts: CallerFacts }>();

  constructor(options: CallersOptions) {
    this.options = options;
  }

  get(binary: number, stack: number): CallerFacts {
    const known = this.known.get(stack);
    if (known) return known.facts;
    const symbols = this.options.symbolsOf(binary);
    const facts = symbols && this.find(symbols, stack);
    if (facts === undefined) {
      this.unknown++;
      return symbols && !symbols.workers ? UNKNOWN : { ...UNKNOWN, ...ALL_DOUBT };
    }
    if (this.known.size >= MAX_REMEMBERED) this.known.delete(this.known.keys().next().value!);
    this.known.set(stack, { binary, facts });
    return facts;
  }

  /** Another executable has this index from now on. */
  forget(binary: number): void {
    for (const [stack, known] of this.known) if (known.binary === binary) this.known.delete(stack);
  }

  private find({ symbolizer, mainModule, workers }: Symbols, stack: number): CallerFacts | undefined {
    const chain = [];
    const doubts: Doubt[] = [];
    let id = stack;
    while (chain.length < MAX_STACKS) {
      const record = this.options.stack(id);
      if (record === undefined) break;
      chain.push(symbolizer.stack(record.offsets));
      id = record.parent;
      if (id === 0) break; // of the request's own goroutine: what it does over and over, it does for the request
      const isCut = record.offsets.length >= MAX_FRAMES;
      if (workers) doubts.push(isCut ? ALL_DOUBT : workers.doubt(record.offsets));
    }
    if (chain.length === 0) return undefined;
    if (workers && id !== 0) doubts.push(ALL_DOUBT); // what is missing may be a worker's
    return {
      ...callerOf(chain, mainModule),
      fromChannel: doubts.some(({ fromChannel }) => fromChannel),
      inLoop: doubts.some(({ inLoop }) => inLoop),
      stacktrace: this.options.withStacks ? stackText(chain) : '',
    };
  }
}

const UNKNOWN: CallerFacts = {
  ...{ function: '', file: '', line: 0, handler: '', stacktrace: '' },
  ...{ fromChannel: false, inLoop: false },
};
