// What the report is made of, kept in files so that a long run can go on where it was stopped.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Judgement } from '../support/accuracy.ts';
import type { Judgements } from './run-case.ts';

/** What was measured: one program, as one build of it. */
export interface Subject {
  /** Of the report's section: `Go 1.24.4`, `caddy 2.6.2`. */
  readonly program: string;
  readonly build: string;
}

export interface CaseResult {
  readonly case: string;
  readonly requests: number;
  readonly clients: number;
  /** Why recall cannot be complete. */
  readonly outOfReach?: string;
  /** What went wrong, instead of judgements. */
  readonly failure?: string;
  readonly judgements?: Judgements;
}

export interface SubjectResults extends Subject {
  readonly cases: readonly CaseResult[];
}

export class ResultFiles {
  private readonly folder: string;

  constructor(folder = resolve('build/accuracy/results')) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  clear(): void {
    for (const file of this.files()) rmSync(join(this.folder, file));
  }

  all(): SubjectResults[] {
    return this.files().map((file) => JSON.parse(readFileSync(join(this.folder, file), 'utf8')));
  }

  /** With the same load. A failed case counts as not there: it is tried again. */
  has(subject: Subject, wanted: Pick<CaseResult, 'case' | 'requests' | 'clients'>): boolean {
    const found = this.of(subject).find((result) => result.case === wanted.case);
    return (
      found?.judgements !== undefined &&
      found.requests === wanted.requests &&
      found.clients === wanted.clients
    );
  }

  add(subject: Subject, result: CaseResult): void {
    const cases = this.of(subject).filter((old) => old.case !== result.case);
    const file = join(this.folder, fileOf(subject));
    writeFileSync(`${file}.new`, JSON.stringify({ ...subject, cases: [...cases, result] }, null, 1));
    renameSync(`${file}.new`, file);
  }

  private of({ program, build }: Subject): readonly CaseResult[] {
    return this.all().find((one) => one.program === program && one.build === build)?.cases ?? [];
  }

  private files(): string[] {
    return readdirSync(this.folder).filter((file) => file.endsWith('.json'));
  }
}

function fileOf({ program, build }: Subject): string {
  return `${program}-${build}.json`.replaceAll(/[^\w.-]/g, '_');
}

export function total(all: readonly Judgement[]): Judgement {
  const add = <T extends Readonly<Record<string, number>>>(pick: (one: Judgement) => T): T => {
    const sums: Record<string, number> = {};
    for (const one of all)
      for (const [key, value] of Object.entries(pick(one))) sums[key] = (sums[key] ?? 0) + value;
    return sums as T;
  };
  const { wrong, repeated, unjudged } = add(({ wrong, repeated, unjudged }) => ({
    wrong,
    repeated,
    unjudged,
  }));
  return {
    use: add(({ use }) => ({ ...use })),
    dial: add(({ dial }) => ({ ...dial })),
    wrong,
    repeated,
    unjudged,
    unnamed: add(({ unnamed }) => unnamed),
    details: {
      caller: add(({ details }) => ({ ...details.caller })),
      handler: add(({ details }) => ({ ...details.handler })),
      trace: add(({ details }) => ({ ...details.trace })),
    },
    problems: all.flatMap(({ problems }) => problems),
  };
}
