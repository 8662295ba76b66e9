// First in, first out, with the bytes that wait. Pure.
import type { Outbound } from '../runtime/bus.ts';

const COMPACT_AT = 1024;

export class MessageQueue {
  bytes = 0;
  private messages: (Outbound | undefined)[] = []; // those before `head` are gone
  private head = 0;

  get length(): number {
    return this.messages.length - this.head;
  }

  get first(): Outbound | undefined {
    return this.messages[this.head];
  }

  push(message: Outbound): void {
    this.messages.push(message);
    this.bytes += message.data.length;
  }

  shift(): Outbound | undefined {
    const message = this.first;
    if (message === undefined) return undefined;
    this.bytes -= message.data.length;
    this.messages[this.head++] = undefined;
    if (this.head >= COMPACT_AT && 2 * this.head >= this.messages.length) {
      this.messages = this.messages.slice(this.head);
      this.head = 0;
    }
    return message;
  }
}
