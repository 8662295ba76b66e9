import { expect, it } from 'vitest';
import { Callers } from '../../../services/capture/callers.ts';
import type { Symbols } from '../../../services/capture/executables.ts';
import type { Frame } from '../../../services/capture/go/frame.ts';

const FRAMES: Readonly<Record<number, Frame>> = {
  1: { function: 'net.(*Dialer).DialContext', file: 'net/dial.go', line: 428 },
  2: { function: 'example.com/shop.(*Store).load', file: 'shop/store.go', line: 12 },
  3: { function: 'example.com/shop.show', file: 'shop/show.go', line: 30 },
  4: { function: 'net/http.HandlerFunc.ServeHTTP', file: 'net/http/server.go', line: 2109 },
};

function callers({
  receiver = -1,
  withStacks = false,
  stacks = new Map<number, { parent: number; offsets: Uint32Array }>(),
} = {}) {
  let symbolised = 0;
  const symbols = {
    mainModule: 'example.com/shop',
    // As if one goroutine, and no other, went round by way of a channel.
    workers: {
      doubt: (offsets: Uint32Array) => ({
        fromChannel: offsets[0] === receiver,
        inLoop: offsets[0] === receiver,
      }),
    },
    symbolizer: {
      stack: (offsets: Iterable<number>) => {
        symbolised++;
        return [...offsets].map((offset) => FRAMES[offset]!);
      },
    },
  } as unknown as Symbols;
  const target = new Callers({
    stack: (id) => stacks.get(id),
    symbolsOf: (binary) => (binary === 0 ? symbols : undefined),
    withStacks,
  });
  return { target, stacks, symbolised: () => symbolised };
}

const CHAIN = new Map([
  [70, { parent: 80, offsets: Uint32Array.of(1) }],
  [80, { parent: 0, offsets: Uint32Array.of(2, 3, 4) }],
]);

it('finds the function that made the call beyond the goroutine that dialled', () => {
  const { target } = callers({ stacks: CHAIN });
  expect(target.get(0, 70)).toEqual({
    function: 'example.com/shop.(*Store).load',
    file: 'shop/store.go',
    line: 12,
    handler: 'example.com/shop.show',
    stacktrace: '',
    fromChannel: false,
    inLoop: false,
  });
});

it('tells work out of a channel, but not of the goroutine of the request itself', () => {
  expect(callers({ stacks: CHAIN, receiver: 1 }).target.get(0, 70)).toMatchObject({ fromChannel: true });
  expect(callers({ stacks: CHAIN, receiver: 2 }).target.get(0, 70)).toMatchObject({ fromChannel: false });
});

it('gives the whole stack only when asked for', () => {
  const text = callers({ stacks: CHAIN, withStacks: true }).target.get(0, 70)!.stacktrace;
  expect(text).toContain('created by example.com/shop.(*Store).load');
  expect(text).toContain('net/dial.go:428');
});

it('symbolises a stack once, until another program has its number', () => {
  const { target, symbolised } = callers({ stacks: CHAIN });
  for (let i = 0; i < 1000; i++) target.get(0, 80);
  expect(symbolised()).toBe(1);
  target.forget(1);
  target.get(0, 80);
  expect(symbolised()).toBe(1);
  target.forget(0);
  target.get(0, 80);
  expect(symbolised()).toBe(2);
});

it('doubts, and counts it, when the stack or the program is gone; and looks again next time', () => {
  const { target, stacks } = callers();
  const unknown = { function: '', line: 0, fromChannel: true, inLoop: true };
  expect(target.get(0, 70)).toMatchObject(unknown);
  expect(target.get(5, 70)).toMatchObject(unknown);
  expect(target.unknown).toBe(2);
  stacks.set(70, CHAIN.get(80)!);
  expect(target.get(0, 70)).toMatchObject({ function: 'example.com/shop.(*Store).load' });
});

it('ends where stacks name each other in a circle', () => {
  const circle = new Map([[70, { parent: 70, offsets: Uint32Array.of(1) }]]);
  expect(callers({ stacks: circle }).target.get(0, 70)).toMatchObject({ function: '' });
});

it('doubts what is cut: a worker may be beyond', () => {
  const deep = new Map([
    [70, { parent: 80, offsets: new Uint32Array(64).fill(1) }],
    [80, { parent: 0, offsets: new Uint32Array(64).fill(3) }],
    [90, { parent: 91, offsets: Uint32Array.of(1) }],
  ]);
  const { target } = callers({ stacks: deep });
  expect(target.get(0, 70)).toMatchObject({ fromChannel: true });
  expect(target.get(0, 80)).toMatchObject({ fromChannel: false }); // the request's own goroutine
  expect(target.get(0, 90)).toMatchObject({ fromChannel: true, function: '' });
});
