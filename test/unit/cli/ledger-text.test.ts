// Whatever books the sink answers, they are told, on one line each, without anything that a terminal obeys.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LedgerAnswer } from '../../../schemas/ledger.ts';
import { balancesOf } from '../../../services/cli/balance.ts';
import { ledgerJson, ledgerText } from '../../../services/cli/ledger-text.ts';
import { TERMINAL_TEXTS } from '../../support/hostile-messages.ts';

/** ESC, CSI, bidi marks, line breaks, halves of pairs … */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...TERMINAL_TEXTS, 'h', 'b'));
const name = fc.oneof(
  text,
  fc.constantFrom('captured.socket', 'dropped.a', 'received.kprobe', 'flows', 'unreadable', '__proto__'),
);
const counts = fc.oneof(
  text,
  fc.json(),
  fc.dictionary(name, fc.maxSafeInteger(), { maxKeys: 8 }).map((all) => JSON.stringify(all)),
);
const timeNs = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const nil = { nil: null };
const row: fc.Arbitrary<LedgerAnswer> = fc.record({
  'flowtag.ledger.id': fc.option(text, nil),
  time: fc.option(timeNs, nil),
  'host.name': fc.option(text, nil),
  'flowtag.boot': fc.option(text, nil),
  'flowtag.run': fc.option(timeNs, nil),
  'flowtag.ledger.counts': fc.option(counts, nil),
  'flowtag.ledger.flows_stored': fc.option(fc.double(), nil),
  'flowtag.ledger.requests_stored': fc.option(fc.double(), nil),
});

test('any rows are told, safely', () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 8 }), (rows) => {
      const balances = balancesOf(rows);
      const json = balances.map(ledgerJson);
      for (const line of [...ledgerText(balances, true), ...ledgerText(balances, false), ...json])
        expect(line).not.toMatch(UNSAFE);
      expect(json.map((line) => JSON.parse(line)['host.name'])).toEqual(balances.map(({ host }) => host));
      expect(balances.flatMap(({ runs }) => runs).length).toBe(rows.length);
    }),
    { numRuns: 2_000 },
  );
});
