import { describe, expect, it } from 'vitest';
import {
  BACKENDS,
  candidatesFor,
  explain,
  programsOf,
  SOCKET_PROGRAMS,
  unusedPrograms,
} from '../../../services/capture/backends.ts';

const ALL = BACKENDS.flatMap((backend) => [
  ...SOCKET_PROGRAMS[backend].state,
  ...SOCKET_PROGRAMS[backend].send,
]);

describe('candidatesFor', () => {
  it.each([
    ['before', 'tracepoint', 'fentry', 'kprobe'],
    ['after', 'fentry', 'tracepoint', 'kprobe'],
    ['none', 'fentry', 'kprobe', 'tracepoint'],
  ] as const)('with tracepoints on sends: %s', (sends, ...order) => {
    expect(candidatesFor('auto', sends).map(({ backend }) => backend)).toEqual(order);
  });

  it('tries nothing but what was asked for', () => {
    expect(candidatesFor('kprobe', 'before')).toEqual([{ backend: 'kprobe', send: 'kprobe_send' }]);
    expect(candidatesFor('tracepoint', 'none')).toEqual([{ backend: 'tracepoint', send: undefined }]);
  });
});

describe('the programs of a candidate', () => {
  it('are all but those that it does without, and one of them sees sends', () => {
    for (const sends of ['before', 'after'] as const)
      for (const candidate of candidatesFor('auto', sends)) {
        const used = programsOf(candidate);
        expect([...unusedPrograms(candidate), ...used].sort()).toEqual([...ALL].sort());
        const sending = SOCKET_PROGRAMS[candidate.backend].send.filter((name) => used.includes(name));
        expect(sending).toHaveLength(1);
      }
  });

  it('see no sends where the kernel does not show them', () => {
    expect(programsOf({ backend: 'tracepoint', send: undefined })).toEqual(['tp_state']);
  });
});

describe('explain', () => {
  it('says why the others were passed over', () => {
    expect(explain('tracepoint', [])).toBe('tracepoint');
    const passedOver = [{ backend: 'fentry', reason: 'attach fentry_state: ENOTSUPP' }] as const;
    expect(explain('kprobe', passedOver)).toBe('kprobe (fentry: attach fentry_state: ENOTSUPP)');
  });
});
