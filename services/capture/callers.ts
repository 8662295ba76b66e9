// From the call stack that an event names to the function that made the call. Each stack is read and symbolised
// once: there are as many as the programs have call sites, however many calls they make.
import type { CallerFacts } from './caller-table.ts';
import type { Symbols } from './executables.ts';
import { callerOf } from './go/caller.ts';
import { stackText } from './go/frame-text.ts';

const MAX_REMEMBERED = 16_384; // as many as the kernel's map holds
/** Goroutines that started each other, one by one: the caller is never far. */
const MAX_STACKS = 16;

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

  get(binary: number, stack: number): CallerFacts | undefined {
    const known = this.known.get(stack);
    if (known) return known.facts;
    const facts = this.find(binary, stack);
    if (facts === undefined) this.unknown++;
    else {
      if (this.known.size >= MAX_REMEMBERED) this.known.delete(this.known.keys().next().value!);
      this.known.set(stack, { binary, facts });
    }
    return facts;
  }

  /** Another executable has this index from now on. */
  forget(binary: number): void {
    for (const [stack, known] of this.known) if (known.binary === binary) this.known.delete(stack);
  }

  private find(binary: number, stack: number): CallerFacts | undefined {
    const symbols = this.options.symbolsOf(binary);
    if (symbols === undefined) return undefined;
    const chain = [];
    let fromChannel = false;
    for (let id = stack; id !== 0 && chain.length < MAX_STACKS; ) {
      const record = this.options.stack(id);
      if (record === undefined) break;
      chain.push(symbols.symbolizer.stack(record.offsets));
      // The last one is of the request's own goroutine: what it receives, it receives for the request.
      if (record.parent !== 0) fromChannel ||= symbols.receives?.before(record.offsets) ?? false;
      id = record.parent;
    }
    if (chain.length === 0) return undefined;
    return {
      ...callerOf(chain, symbols.mainModule),
      fromChannel,
      stacktrace: this.options.withStacks ? stackText(chain) : '',
    };
  }
}
