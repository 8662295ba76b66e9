// What children write: all of it to <data-dir>/log/<name>.log, what a person should know to the terminal.
import { join } from 'node:path';
import { LogFile } from './log-file.ts';
import { readLogLine } from './log-line.ts';
import type { ChildExit } from './supervised-child.ts';
import type { Say } from './terminal.ts';

const KEPT_LINES = 20;

export class ChildLog {
  private readonly folder: string;
  private readonly say: Say;
  private readonly files = new Map<string, LogFile>();
  private readonly lastPlain = new Map<string, string[]>();

  constructor(folder: string, say: Say) {
    this.folder = folder;
    this.say = say;
  }

  fileOf(name: string): string {
    return join(this.folder, `${name}.log`);
  }

  accept(name: string, line: string): void {
    const file = this.files.get(name) ?? new LogFile(this.fileOf(name));
    this.files.set(name, file);
    file.append(line);
    const { severity, text } = readLogLine(line);
    if (severity === 'plain') this.keep(name, text);
    else if (severity !== 'quiet') this.say(`${name}: ${severity}: ${text}`);
  }

  /** That a child ended, how, and what it said last, unless it was a log line that has been shown. */
  explainExit(name: string, exit: ChildExit, restartMs: number | undefined): void {
    const next = restartMs === undefined ? '' : `; starting it again in ${restartMs / 1000} s`;
    const last = (this.lastPlain.get(name) ?? []).map((line) => `\n  ${line}`).join('');
    this.lastPlain.delete(name);
    this.say(`${name} ended (${howItEnded(exit)})${next}; its log: ${this.fileOf(name)}${last}`);
  }

  close(): void {
    for (const [name, file] of this.files) {
      file.close();
      if (file.lostLines > 0)
        this.say(`${file.lostLines} lines could not be written to ${this.fileOf(name)}`);
    }
  }

  private keep(name: string, line: string): void {
    if (line.trim() === '') return;
    this.lastPlain.set(name, [...(this.lastPlain.get(name) ?? []), line].slice(-KEPT_LINES));
  }
}

function howItEnded({ code, signal, problem }: ChildExit): string {
  return problem ?? (signal === null ? `exit code ${code}` : signal);
}
