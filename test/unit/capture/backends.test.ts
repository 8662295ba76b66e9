import { describe, expect, it } from 'vitest';
import {
  BACKENDS,
  candidatesFor,
  explain,
  SOCKET_PROGRAMS,
  unusedPrograms,
} from '../../../services/capture/backends.ts';

const ALL = BACKENDS.flatMap((backend) => [...SOCKET_PROGRAMS[backend].state, SOCKET_PROGRAMS[backend].send]);

describe('candidatesFor', () => {
  it('takes the tracepoints first where they show everything, and last where they do not', () => {
    const order = (hasSends: boolean) => candidatesFor('auto', hasSends).map(({ backend }) => backend);
    expect(order(true)).toEqual(['tracepoint', 'fentry', 'kprobe']);
    expect(order(false)).toEqual(['fentry', 'kprobe', 'tracepoint']);
  });

  it('tries nothing but what was asked for', () => {
    expect(candidatesFor('kprobe', true)).toEqual([{ backend: 'kprobe', seesUses: true }]);
    expect(candidatesFor('tracepoint', false)).toEqual([{ backend: 'tracepoint', seesUses: false }]);
  });
});

describe('unusedPrograms', () => {
  it('leaves each candidate its own programs', () => {
    for (const candidate of candidatesFor('auto', true)) {
      const { state, send } = SOCKET_PROGRAMS[candidate.backend];
      const unused = unusedPrograms(candidate);
      expect([...unused, ...state, send].sort()).toEqual([...ALL].sort());
    }
    expect(unusedPrograms({ backend: 'tracepoint', seesUses: false })).toContain('tp_send');
  });
});

describe('explain', () => {
  it('says why the others were passed over', () => {
    expect(explain('tracepoint', [])).toBe('tracepoint');
    const passedOver = [{ backend: 'fentry', reason: 'attach fentry_state: ENOTSUPP' }] as const;
    expect(explain('kprobe', passedOver)).toBe('kprobe (fentry: attach fentry_state: ENOTSUPP)');
  });
});
