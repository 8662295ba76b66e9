import { describe, expect, it } from 'vitest';
import { type HeaderRequest, openPositions } from '../../../services/runtime/bus-positions.ts';
import { BusError } from '../../../services/runtime/errors.ts';

/** A bucket as nats-server answers for it, whose next answers can be lost after or before the write. */
class Bucket {
  readonly entries = new Map<string, { data: Uint8Array; seq: number; hdrs: string }>();
  lose: 'answer' | 'request' | undefined;
  private seq = 0;

  readonly request: HeaderRequest = async (subject, data, headers) => {
    const lose = this.lose;
    this.lose = undefined;
    if (lose === 'request') throw new BusError('TIMEOUT', 'lost');
    const answer = this.answer(subject, data, headers);
    if (lose === 'answer') throw new BusError('TIMEOUT', 'lost');
    return Buffer.from(JSON.stringify(answer));
  };

  put(subject: string, data: Uint8Array, hdrs = ''): number {
    this.entries.set(subject, { data, seq: ++this.seq, hdrs });
    return this.seq;
  }

  private answer(subject: string, data: Uint8Array, headers?: Readonly<Record<string, string>>): unknown {
    if (subject.startsWith('$JS.API.STREAM.INFO.'))
      return { config: {}, created: '', state: { first_seq: 0, last_seq: this.seq } };
    if (subject.startsWith('$JS.API.STREAM.CREATE.')) return { error: { code: 400, err_code: 10_058 } };
    if (subject.startsWith('$JS.API.STREAM.MSG.GET.')) {
      const entry = this.entries.get(JSON.parse(Buffer.from(data).toString()).last_by_subj);
      if (!entry) return { error: { code: 404, err_code: 10_037, description: 'no message found' } };
      const hdrs = Buffer.from(entry.hdrs).toString('base64');
      return { message: { seq: entry.seq, data: Buffer.from(entry.data).toString('base64'), hdrs } };
    }
    const expected = Number(headers?.['Nats-Expected-Last-Subject-Sequence']);
    if (expected !== (this.entries.get(subject)?.seq ?? 0))
      return { error: { code: 400, err_code: 10_071, description: 'wrong last sequence' }, seq: 0 };
    return { stream: 'KV_P', seq: this.put(subject, data) };
  }
}

const bytes = (text: string) => Buffer.from(text);

describe('positions', () => {
  it('reads back what it wrote, by revision', async () => {
    const positions = await openPositions(new Bucket().request, 'P');
    expect(await positions.get('k')).toBeUndefined();
    const first = await positions.set('k', bytes('1'), 0);
    const second = await positions.set('k', bytes('2'), first);
    expect(await positions.get('k')).toEqual({ value: bytes('2'), revision: second });
  });

  it('is fenced when someone else wrote', async () => {
    const bucket = new Bucket();
    const positions = await openPositions(bucket.request, 'P');
    const revision = await positions.set('k', bytes('1'), 0);
    bucket.put('$KV.P.k', bytes('theirs'));
    await expect(positions.set('k', bytes('2'), revision)).rejects.toMatchObject({ code: 'FENCED' });
    await expect(positions.set('k', bytes('2'), 0)).rejects.toMatchObject({ code: 'FENCED' });
  });

  it.each(['answer', 'request'] as const)('goes on after a lost %s', async (lose) => {
    const bucket = new Bucket();
    const positions = await openPositions(bucket.request, 'P');
    const first = await positions.set('k', bytes('1'), 0);
    bucket.lose = lose;
    await expect(positions.set('k', bytes('2'), first)).rejects.toMatchObject({ code: 'TIMEOUT' });
    const third = await positions.set('k', bytes('3'), first);
    expect(await positions.get('k')).toEqual({ value: bytes('3'), revision: third });
  });

  it('is fenced when someone else wrote after a lost answer', async () => {
    const bucket = new Bucket();
    const positions = await openPositions(bucket.request, 'P');
    bucket.lose = 'answer';
    await expect(positions.set('k', bytes('1'), 0)).rejects.toMatchObject({ code: 'TIMEOUT' });
    bucket.put('$KV.P.k', bytes('theirs'));
    await expect(positions.set('k', bytes('2'), 0)).rejects.toMatchObject({ code: 'FENCED' });
  });

  it('takes a deleted key for a missing one', async () => {
    const bucket = new Bucket();
    const positions = await openPositions(bucket.request, 'P');
    bucket.put('$KV.P.k', bytes(''), 'NATS/1.0\r\nKV-Operation: DEL\r\n\r\n');
    expect(await positions.get('k')).toBeUndefined();
    const revision = await positions.set('k', bytes('1'), 0);
    expect(await positions.get('k')).toEqual({ value: bytes('1'), revision });
  });
});
