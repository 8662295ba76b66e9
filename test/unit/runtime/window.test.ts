import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Outgoing, Window, type WindowLimits } from '../../../services/runtime/bus-window.ts';

const LIMITS: WindowLimits = {
  windowMessages: 4,
  windowBytes: 40,
  queueBytes: 200,
  stallMs: 2_000,
  retryMs: 500,
};

/** A server behind a link: takes messages in the order sent, keeps one per id, can fail at any point. */
class Model {
  readonly window = new Window<number>(LIMITS);
  readonly taken: number[] = [];
  readonly acknowledged: number[] = [];
  readonly stored: number[] = [];
  nowMs = 0;
  offered = 0;
  up = true;
  onLink: Outgoing<number>[] = [];
  answers: { token: string; stored: boolean }[] = [];

  offer(bytes: number): void {
    const message = this.offered++;
    if (this.window.offer(message, bytes)) this.taken.push(message);
    this.pump();
  }

  pump(): void {
    for (;;) {
      const outgoing = this.window.take(this.nowMs);
      if (!outgoing) return;
      expect(this.up).toBe(true);
      this.onLink.push(outgoing);
    }
  }

  /** The server handles the next `n` messages; while it refuses it stores none of them. */
  serve(n: number, refuse: boolean): void {
    for (const { token, message } of this.onLink.splice(0, n)) {
      if (!refuse && !this.stored.includes(message)) this.stored.push(message);
      this.answers.push({ token, stored: !refuse });
    }
  }

  answer(n: number): void {
    for (const { token, stored } of this.answers.splice(0, n)) {
      if (!stored) this.window.refuse(token, this.nowMs);
      const message = stored ? this.window.acknowledge(token, this.nowMs) : undefined;
      if (message !== undefined) this.acknowledged.push(message);
    }
    this.pump();
  }

  /** What is on the way to the server and what it answered is lost. */
  setConnected(up: boolean): void {
    this.up = up;
    this.onLink = [];
    this.answers = [];
    this.window.setConnected(up);
    this.pump();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.window.tick(this.nowMs);
    this.pump();
  }
}

const steps = fc.oneof(
  fc.record({ step: fc.constant('offer' as const), bytes: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ step: fc.constant('serve' as const), n: fc.integer({ min: 1, max: 5 }), refuse: fc.boolean() }),
  fc.record({ step: fc.constant('answer' as const), n: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ step: fc.constant('loseAnswers' as const) }),
  fc.record({ step: fc.constant('connected' as const), up: fc.boolean() }),
  fc.record({ step: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 3_000 }) }),
);

function play(
  model: Model,
  sequence: readonly (typeof steps extends fc.Arbitrary<infer S> ? S : never)[],
): void {
  for (const action of sequence) {
    if (action.step === 'offer') model.offer(action.bytes);
    else if (action.step === 'serve') model.serve(action.n, action.refuse);
    else if (action.step === 'answer') model.answer(action.n);
    else if (action.step === 'loseAnswers') model.answers = [];
    else if (action.step === 'connected') model.setConnected(action.up);
    else model.pass(action.ms);
    expect(model.window.queuedBytes).toBeLessThanOrEqual(LIMITS.queueBytes);
    expect(model.window.queued).toBeLessThanOrEqual(model.taken.length);
  }
}

function heal(model: Model): void {
  model.setConnected(true);
  for (let round = 0; model.window.queued > 0 && round < 500; round++) {
    model.serve(100, false);
    model.answer(100);
    model.pass(1_000);
  }
}

const inOrder = (numbers: readonly number[]): boolean =>
  numbers.every((n, i) => i === 0 || n > numbers[i - 1]!);

describe('Window', () => {
  it('gets everything taken stored and acknowledged exactly once, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 200 }), (sequence) => {
        const model = new Model();
        play(model, sequence);
        heal(model);
        expect(model.window.queued).toBe(0);
        expect(model.window.queuedBytes).toBe(0);
        expect([...model.stored].sort((a, b) => a - b)).toEqual(model.taken);
        expect([...model.acknowledged].sort((a, b) => a - b)).toEqual(model.taken);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps the order as long as the server refuses none of them', () => {
    const withoutRefusals = steps.map((action) =>
      action.step === 'serve' ? { ...action, refuse: false } : action,
    );
    fc.assert(
      fc.property(fc.array(withoutRefusals, { maxLength: 200 }), (sequence) => {
        const model = new Model();
        play(model, sequence);
        heal(model);
        expect(model.stored).toEqual(model.taken);
        // An answer that got lost comes again later than those of the messages behind it: what is stored keeps its order.
        const answersLost = sequence.some(({ step }) => step === 'loseAnswers');
        if (!answersLost) expect(inOrder(model.acknowledged)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('never has more in flight than the window, except one message larger than it', () => {
    const window = new Window<string>(LIMITS);
    for (const bytes of [1, 1, 1, 1, 1]) window.offer('x', bytes);
    const tokens = [window.take(0), window.take(0), window.take(0), window.take(0)];
    expect(tokens.every(Boolean)).toBe(true);
    expect(window.take(0)).toBeUndefined();
    window.acknowledge(tokens[0]!.token, 0);
    expect(window.take(0)).toBeDefined();

    const heavy = new Window<string>(LIMITS);
    for (const bytes of [20, 20, 1]) heavy.offer('x', bytes);
    expect([heavy.take(0), heavy.take(0), heavy.take(0)].map(Boolean)).toEqual([true, true, false]);
    heavy.setConnected(false);
    heavy.setConnected(true);
    expect([heavy.take(0), heavy.take(0), heavy.take(0)].map(Boolean)).toEqual([true, true, false]);

    const large = new Window<string>(LIMITS);
    large.offer('large', 100);
    large.offer('next', 1);
    expect(large.take(0)?.message).toBe('large');
    expect(large.take(0)).toBeUndefined();
  });

  it('refuses what does not fit the queue and keeps what it took', () => {
    const window = new Window<number>(LIMITS);
    expect([window.offer(1, 150), window.offer(2, 60), window.offer(3, 50)]).toEqual([true, false, true]);
    expect(window.queued).toBe(2);
  });

  it('pauses after a refusal, then sends again from there', () => {
    const window = new Window<number>(LIMITS);
    window.offer(1, 1);
    window.offer(2, 1);
    const [first, second] = [window.take(0)!, window.take(0)!];
    window.refuse(first.token, 100);
    expect(window.take(599)).toBeUndefined();
    expect(window.take(600)?.message).toBe(1);
    expect(window.take(600)?.message).toBe(2);
    expect(window.refuse(second.token, 600)).toBe(false); // of the first attempt
    expect(window.resent).toBe(2);
  });

  it('sends again after a time without progress, and not while acknowledgements come', () => {
    const window = new Window<number>(LIMITS);
    for (const n of [1, 2, 3]) window.offer(n, 1);
    const first = window.take(0)!;
    window.take(0);
    window.acknowledge(first.token, 1_500);
    expect(window.tick(3_000)).toBe(false);
    expect(window.tick(3_500)).toBe(true);
    const second = window.take(3_500)!;
    expect(second.message).toBe(2);
    expect([window.tick(7_499), window.tick(7_500)]).toEqual([false, true]); // patience doubles
    window.acknowledge(second.token, 7_500);
    window.take(7_500);
    expect([window.tick(9_499), window.tick(9_500)]).toEqual([false, true]);
  });

  it('does not take the acknowledgement of a later message for progress', () => {
    const window = new Window<number>(LIMITS);
    for (const n of [1, 2, 3]) window.offer(n, 1);
    const [, second, third] = [window.take(0)!, window.take(0)!, window.take(0)!];
    window.acknowledge(second.token, 1_000);
    window.acknowledge(third.token, 1_900);
    expect([window.tick(1_999), window.tick(2_000)]).toEqual([false, true]);
    expect(window.take(2_000)?.message).toBe(1);
  });

  it('takes a late acknowledgement of an earlier attempt', () => {
    const window = new Window<number>(LIMITS);
    window.offer(1, 1);
    window.offer(2, 1);
    const first = window.take(0)!;
    window.setConnected(false);
    window.setConnected(true);
    expect(window.acknowledge(first.token, 10)).toBe(1);
    expect(window.take(10)?.message).toBe(2);
  });

  it.each(['', 'x', '0', '1-0', '5-0', '-1-0', '0-0-0', '1e3-0', '99999999999999999999-0'])(
    'ignores the token %j',
    (token) => {
      const window = new Window<number>(LIMITS);
      window.offer(1, 1);
      window.take(0);
      window.offer(2, 1); // not sent yet
      expect(window.acknowledge(token, 0)).toBeUndefined();
      expect(window.refuse(token, 0)).toBe(false);
      expect(window.discard(token)).toBeUndefined();
      expect(window.queued).toBe(2);
    },
  );

  it('gives up one message and goes on with the next', () => {
    const window = new Window<number>(LIMITS);
    window.offer(1, 1);
    window.offer(2, 1);
    expect(window.discard(window.take(0)!.token)).toBe(1);
    expect(window.doneUpTo).toBe(1);
    expect(window.take(0)?.message).toBe(2);
  });

  it('hands back what is left when it is abandoned', () => {
    const window = new Window<number>(LIMITS);
    for (const n of [1, 2, 3]) window.offer(n, 1);
    window.take(0);
    const second = window.take(0)!;
    window.acknowledge(second.token, 0);
    expect(window.abandon()).toEqual([1, 3]);
    expect([window.queued, window.queuedBytes]).toEqual([0, 0]);
  });

  it('stays small over many messages', () => {
    const window = new Window<number>(LIMITS);
    for (let n = 0; n < 10_000; n++) {
      window.offer(n, 1);
      expect(window.acknowledge(window.take(n)!.token, n)).toBe(n);
    }
    expect(window.queued).toBe(0);
    expect(window.end).toBe(10_000);
  });
});
