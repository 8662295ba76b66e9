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
    // As if the dialler, and nothing else, received from a channel.
    receives: { before: (offsets: Uint32Array) => offsets[0] === receiver },
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

it('says nothing, and counts it, when the stack or the program is gone; and looks again next time', () => {
  const { target, stacks } = callers();
  expect(target.get(0, 70)).toBeUndefined();
  expect(target.get(5, 70)).toBeUndefined();
  expect(target.unknown).toBe(2);
  stacks.set(70, CHAIN.get(80)!);
  expect(target.get(0, 70)).toMatchObject({ function: 'example.com/shop.(*Store).load' });
});

it('ends where stacks name each other in a circle', () => {
  const circle = new Map([[70, { parent: 70, offsets: Uint32Array.of(1) }]]);
  expect(callers({ stacks: circle }).target.get(0, 70)).toMatchObject({ function: '' });
});
