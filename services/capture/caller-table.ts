// The callers that one batch of socket events mentions: a table, to which its rows refer by 1 + index.
import { ColumnWriter } from '../../schemas/columns.ts';
import { CALLER_COLUMNS, FLAG } from '../../schemas/events.ts';
import type { StackFacts } from './event-decoder.ts';
import type { Caller } from './go/caller.ts';
import type { Doubt } from './go/workers.ts';

export interface CallerFacts extends Caller, Doubt {
  /** '' unless asked for. */
  readonly stacktrace: string;
}

/** Of one table: with 4096 rows and their processes the message stays below 1 MiB. */
const MAX_TEXT_BYTES = 128 << 10;

export class BatchCallers {
  readonly writer: ColumnWriter<typeof CALLER_COLUMNS>;
  private readonly known = new Map<number, StackFacts>();
  private textBytes = 0;

  constructor(capacity: number) {
    this.writer = new ColumnWriter(CALLER_COLUMNS, capacity);
  }

  get full(): boolean {
    return this.writer.n === this.writer.capacity || this.textBytes > MAX_TEXT_BYTES;
  }

  /** Of a caller that is in the table already, by its stack. */
  factsOf(stack: number): StackFacts | undefined {
    return this.known.get(stack);
  }

  /** Of a caller that is not yet in the table, which is not full. */
  add(stack: number, caller: CallerFacts): StackFacts {
    const { columns, n } = this.writer;
    columns['code.function.name'].set(n, caller.function);
    columns['code.file.path'].set(n, caller.file);
    columns['code.line.number'][n] = caller.line;
    columns['code.stacktrace'].set(n, caller.stacktrace);
    columns['flowtag.request.handler'].set(n, caller.handler);
    this.textBytes += 3 * (caller.function.length + caller.file.length + caller.handler.length);
    this.textBytes += 3 * caller.stacktrace.length;
    this.writer.n++;
    const flags = (caller.fromChannel ? FLAG.fromChannel : 0) | (caller.inLoop ? FLAG.inLoop : 0);
    const facts = { caller: this.writer.n, flags };
    this.known.set(stack, facts);
    return facts;
  }

  take(): ReturnType<ColumnWriter<typeof CALLER_COLUMNS>['take']> {
    this.known.clear();
    this.textBytes = 0;
    return this.writer.take();
  }
}
