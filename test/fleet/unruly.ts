// A transport at its worst, within what it may do. A message may come twice: the server keeps ids for two minutes only,
// and a publisher that saw no acknowledgement sends again. A batch may come late, behind as many of its host's later
// messages as a publisher has in flight: the server that had it died, and it is sent again. Pure.
import type { Outbound } from '../../services/runtime/bus.ts';
import { Random } from '../support/hostile-messages.ts';

const WINDOW = 256;
const ONE_IN = { repeated: 5, late: 10 };

interface Held {
  readonly message: Outbound;
  readonly after: number;
}

export class Unruly {
  private readonly deliver: (message: Outbound) => void;
  private readonly random: Random;
  private held: Held[] = [];
  private passed = 0;

  constructor(host: string, deliver: (message: Outbound) => void) {
    this.random = new Random(Buffer.from(host).reduce((sum, byte) => 31 * sum + byte, 7));
    this.deliver = deliver;
  }

  publish(message: Outbound): void {
    const { random } = this;
    this.passed++;
    if (random.below(ONE_IN.repeated) === 0) {
      const again = { ...message, messageId: `${message.messageId}.again` };
      this.held.push({ message: again, after: this.passed + random.below(2 * WINDOW) });
    }
    // The first is not late: nothing would tell that there is one before the second.
    if (this.passed > 1 && random.below(ONE_IN.late) === 0)
      this.held.push({ message, after: this.passed + random.below(WINDOW) });
    else this.deliver(message);
    this.release((after) => after <= this.passed);
  }

  /** Delivers what is held. */
  settle(): void {
    this.release(() => true);
  }

  private release(isDue: (after: number) => boolean): void {
    const due = this.held.filter(({ after }) => isDue(after));
    this.held = this.held.filter(({ after }) => !isDue(after));
    for (const { message } of due) this.deliver(message);
  }
}
