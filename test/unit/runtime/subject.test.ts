import { describe, expect, it } from 'vitest';
import { eventSubject, flowSubject } from '../../../schemas/subjects.ts';
import { isPublishable } from '../../../services/runtime/bus-subject.ts';

describe('a subject', () => {
  it.each([
    'a',
    'flowtag.ev.uprobe.3.h',
    `${'a.'.repeat(1023)}ab`,
    eventSubject('kprobe', ''),
    flowSubject('h', '\u00e4 b\n'),
    flowSubject('.'.repeat(255), '.'.repeat(255)),
  ])('can be published on: %#', (subject) => {
    expect(isPublishable(subject)).toBe(true);
  });

  it.each([
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    'a b',
    'a\tb',
    'a\r\nb',
    `${'a.'.repeat(1024)}a`,
    '\u00e4'.repeat(1025),
  ])('cannot be published on: %#', (subject) => {
    expect(isPublishable(subject)).toBe(false);
  });
});
