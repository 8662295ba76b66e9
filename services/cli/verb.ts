// What every verb is given, and how it becomes part of the command line.
import type { Command } from 'commander';
import type { BusAccess } from '../runtime/bus.ts';
import type { Paint } from './format.ts';
import type { Interrupts } from './interrupts.ts';
import type { LineOutput } from './line-output.ts';
import type { Say } from './terminal.ts';
import { UsageError } from './usage-error.ts';

export interface VerbContext {
  readonly out: LineOutput;
  readonly say: Say;
  readonly paint: Paint;
  /** For verbs that run until they are told to stop; to the others Ctrl-C does what it always does. */
  readonly untilInterrupted: () => Interrupts;
  readonly dataDir: string;
  /** As given by flag or environment. */
  readonly server: string | undefined;
  /** Who the verb is on the bus, and how it knows the server. */
  readonly access: BusAccess;
}

/** Runs a verb with the global options of its command; the number is the exit code. */
export type RunVerb = (command: Command, verb: (context: VerbContext) => Promise<number>) => Promise<void>;

/** A parser for commander whose errors name the option. */
export function parsed<T>(option: string, parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw error instanceof UsageError ? new UsageError(`${option}: ${error.message}`) : error;
    }
  };
}
