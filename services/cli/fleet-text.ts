// The fleet as lines for a terminal, or as JSON. Pure.
import { escapeJson, escapeText, escapeWord } from './escape.ts';
import type { Member } from './fleet.ts';
import { textTable } from './text-table.ts';

const HEADER = ['SERVICE', 'HOST', 'VERSION', 'STATE', 'BACKEND', 'PROBED', 'EVENTS/S', 'LAG', 'DROPPED'];
const ALIGNS = ['left', 'left', 'left', 'left', 'left', 'right', 'right', 'right', 'right'] as const;

/** A table, with the notes of each service below its line. */
export function membersText(members: readonly Member[]): string[] {
  if (members.length === 0) return [];
  const rows = members.map((member) => [
    member.role,
    escapeWord(member.host),
    escapeWord(member.version),
    member.state,
    escapeWord(member.backend),
    `${member.executables ?? ''}`,
    member.eventsPerSecond?.toFixed(1) ?? '',
    member.lag,
    `${member.dropped}`,
  ]);
  const [header, ...lines] = textTable(ALIGNS, [HEADER, ...rows]);
  return [
    header!,
    ...members.flatMap(({ notes }, i) => [lines[i]!, ...notes.map((note) => `  ${escapeText(note)}`)]),
  ];
}

export function memberJson({ host, eventsPerSecond, ...member }: Member): string {
  return escapeJson(
    JSON.stringify({ ...member, 'host.name': host, events_per_second: eventsPerSecond ?? null }),
  );
}
