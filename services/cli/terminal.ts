// Where a verb writes: data on stdout, messages on stderr. Tests pass their own streams.
import type { Writable } from 'node:stream';
import picocolors from 'picocolors';
import { escapeText } from './escape.ts';
import type { Paint } from './format.ts';

export interface Terminal {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
}

export const COLOR_CHOICES = ['auto', 'always', 'never'] as const;
export type ColorChoice = (typeof COLOR_CHOICES)[number];

/** Colours for stdout; `auto` also honours NO_COLOR and TERM=dumb (picocolors knows them). */
export function paintFor(choice: ColorChoice, terminal: Terminal): Paint {
  const auto = picocolors.isColorSupported && terminal.stdout.isTTY === true;
  return picocolors.createColors(choice === 'always' || (choice === 'auto' && auto));
}

/** A message for people, of one or more lines; what it quotes may be captured text, so all of it is escaped. */
export type Say = (text: string) => void;

const MAX_UNREAD_BYTES = 1024 * 1024;

export function sayOn({ stderr }: Terminal): Say {
  stderr.on('error', () => undefined); // a reader of messages that went away is no reason to stop
  return (text) => {
    const safe = text.split('\n').map(escapeText).join('\n');
    if (stderr.writableLength < MAX_UNREAD_BYTES) stderr.write(`flowtag: ${safe}\n`);
  };
}
