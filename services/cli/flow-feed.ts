// Flows as they come, each once, whether from history or live.
import { decodeRows, FLOW_FIELDS, FLOW_SCHEMA, type Flow } from '../../schemas/rows.ts';
import { LIVE_FLOWS } from '../../schemas/subjects.ts';
import type { Bus, BusMessage } from '../runtime/bus.ts';
import { RecentIds } from './recent-ids.ts';
import type { Say } from './terminal.ts';

const MAX_HELD = 10_000;

/** Subscribes at once and holds live flows back until `release`: what happens while history is read is not missed. */
export class FlowFeed {
  private readonly recent = new RecentIds();
  private readonly onFlow: (flow: Flow) => void;
  private readonly say: Say;
  private readonly subscription: { close(): void };
  private held: Flow[] | undefined = [];
  private heldOff = 0;
  private unreadable = 0;

  constructor(bus: Bus, onFlow: (flow: Flow) => void, say: Say) {
    this.onFlow = onFlow;
    this.say = say;
    this.subscription = bus.subscribe(LIVE_FLOWS, (message) => this.accept(message));
  }

  /** Passes a flow on unless it was passed on before. */
  offer(flow: Flow): void {
    const id = flow['flowtag.flow.id'];
    if (id === null || this.recent.add(id)) this.onFlow(flow);
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const flow of held) this.offer(flow);
    if (this.heldOff > 0) this.say(`${this.heldOff} flows came while history was read and are left out`);
  }

  close(): void {
    this.subscription.close();
  }

  private accept(message: BusMessage): void {
    const flows =
      message.schema === FLOW_SCHEMA
        ? decodeRows(FLOW_FIELDS, message.data)
        : `schema ${message.schema || 'missing'} is not ${FLOW_SCHEMA}`;
    if (typeof flows === 'string') {
      this.skip(message.subject, flows);
      return;
    }
    for (const flow of flows) {
      if (this.held === undefined) this.offer(flow);
      else if (this.held.length < MAX_HELD) this.held.push(flow);
      else this.heldOff++;
    }
  }

  /** Said for the 1st, 10th, 100th …: a publisher of another version would repeat itself for every message. */
  private skip(subject: string, problem: string): void {
    this.unreadable++;
    if (Number.isInteger(Math.log10(this.unreadable)))
      this.say(`${this.unreadable} messages could not be read, the last on ${subject}: ${problem}`);
  }
}
