// Answers against the truth: somebody says which request an event on a connection belongs to. Pure.
import type { Flow } from '../../schemas/rows.ts';
import type { DownstreamRequest } from './targets.ts';
import { type Details, type Dial, keyOf, type Span, type Truth, truthOf } from './truth.ts';
import type { FlowJson } from './up.ts';

/** What somebody says about one event on a connection of the program under test. */
export interface Answer {
  /** `address:port` of the caller's end, as the logs write it. */
  readonly local: string;
  readonly timeMs: number;
  /** The event opened the connection. */
  readonly opened: boolean;
  /** Of the request that is named as the cause, if one is. */
  readonly path: string | undefined;
  /** Why none is named. */
  readonly reason?: string;
  readonly details?: Details;
}

export interface Level {
  /** Items of truth, and those that an answer names. */
  readonly of: number;
  readonly found: number;
  /** Answers that name a request, by whether the truth backs them. */
  readonly right: number;
  readonly wrong: number;
}

export interface Tally {
  readonly of: number;
  readonly right: number;
}

export interface Judgement {
  /** Which request was sent over which connection. */
  readonly use: Level;
  /** Which request caused the connection to be opened; nothing without a dial log. */
  readonly dial: Level;
  /** Answers that name a request which neither log backs. */
  readonly wrong: number;
  /** Answers that say the same thing again. */
  readonly repeated: number;
  /** Without a dial log: who is said to have opened a connection that others, or nobody, came to use. */
  readonly unjudged: number;
  /** Answers that name no request, by reason. */
  readonly unnamed: Readonly<Record<string, number>>;
  readonly details: Readonly<Record<keyof Details, Tally>>;
  /** The first few things that are not as they should be, in words. */
  readonly problems: readonly string[];
}

/** One clock stamps the logs and, through an offset taken once, the kernel's events; a port rests longer. */
const CLOCK_SLACK_MS = 250;
const MAX_PROBLEMS = 12;

export function judge(truth: Truth, answers: readonly Answer[]): Judgement {
  const judging = new Judging(truth);
  for (const answer of answers) judging.accept(answer);
  return judging.judgement();
}

class Judging {
  private readonly truth: Truth;
  private readonly said = new Set<string>();
  private readonly found = { uses: new Set<string>(), dials: new Set<Dial>() };
  private readonly use = { right: 0, wrong: 0 };
  private readonly dial = { right: 0, wrong: 0 };
  private readonly unnamed: Record<string, number> = {};
  private readonly details = { caller: tally(), handler: tally(), trace: tally() };
  private readonly problems: string[] = [];
  private readonly withoutDialLog: Answer[] = [];
  private wrong = 0;
  private repeated = 0;

  constructor(truth: Truth) {
    this.truth = truth;
  }

  accept(answer: Answer): void {
    const { local, path, opened, reason = 'unknown' } = answer;
    if (path === undefined) {
      this.unnamed[reason] = (this.unnamed[reason] ?? 0) + 1;
      return;
    }
    const key = keyOf(local, path);
    const { use, dial, attempt } = this.backingOf(answer, path);
    if (this.said.has(key) && dial === undefined) {
      this.repeated++;
      this.use.wrong++; // of a use that is not there
      this.report(`${key} is said once more`);
      return;
    }
    this.said.add(key);
    if (use) this.found.uses.add(key);
    if (dial) this.found.dials.add(dial);
    if (dial || attempt) this.dial.right++;
    else if (opened && this.truth.dials.size > 0) this.dial.wrong++;
    if (use) this.use.right++;
    if (use || dial || attempt) this.compareDetails(answer, key, path);
    else if (opened && this.truth.dials.size === 0) this.withoutDialLog.push(answer);
    else this.isWrong(answer);
  }

  private isWrong({ local, path, opened }: Answer): void {
    this.use.wrong++;
    this.wrong++;
    this.report(`${opened ? 'new' : 'reused'} ${keyOf(local, path!)} is in neither log`);
  }

  /** It stands for the use of a connection, unless every use of that one has been named by others. */
  private judgeWithoutDialLog(): number {
    const uses = [...this.truth.uses.keys()].filter((key) => !this.found.uses.has(key));
    const open = new Set(uses.map((key) => key.split(' ', 1)[0]));
    const wrong = this.withoutDialLog.filter(
      ({ local, path }) => open.has(local) || !this.truth.details.has(path!),
    );
    for (const answer of wrong) this.isWrong(answer);
    return this.withoutDialLog.length - wrong.length;
  }

  judgement(): Judgement {
    const { truth, found } = this;
    const unjudged = this.judgeWithoutDialLog();
    for (const key of truth.uses.keys()) if (!found.uses.has(key)) this.report(`nobody names use ${key}`);
    for (const [key, dials] of truth.dials)
      if (dials.some((dial) => !found.dials.has(dial))) this.report(`nobody names dial ${key}`);
    return {
      use: { of: truth.uses.size, found: found.uses.size, ...this.use },
      dial: { of: [...truth.dials.values()].flat().length, found: found.dials.size, ...this.dial },
      wrong: this.wrong,
      repeated: this.repeated,
      unjudged,
      unnamed: this.unnamed,
      details: this.details,
      problems: this.problems,
    };
  }

  private compareDetails({ details, opened }: Answer, key: string, path: string): void {
    if (details === undefined) return;
    const { uses, dials } = this.truth;
    const calls = (opened ? dials.get(key) : undefined) ?? uses.get(key) ?? [];
    const said = calls.length > 0 ? calls.map((call) => call.details) : (this.truth.details.get(path) ?? []);
    for (const what of ['caller', 'handler', 'trace'] as const) {
      const allowed = said.map((call) => call[what]);
      // A call that reached nobody has no truth; programs other than `cases` say nothing about their functions.
      if (allowed.length === 0 || (what !== 'trace' && allowed.includes(''))) continue;
      this.details[what].of++;
      if (allowed.includes(details[what])) this.details[what].right++;
      else this.report(`${what} of ${key} is '${allowed[0]}', not '${details[what]}'`);
    }
  }

  /** Which log says that this request had to do with this connection at this time. */
  private backingOf({ local, timeMs, opened }: Answer, path: string) {
    const { uses, dials, attempts } = this.truth;
    const key = keyOf(local, path);
    const within = ({ beganMs, endMs }: Span): boolean =>
      timeMs >= beganMs - CLOCK_SLACK_MS && timeMs <= endMs + CLOCK_SLACK_MS;
    const attempt = attempts.get(key);
    return {
      use: uses.get(key)?.some((use) => timeMs <= use.timeMs + CLOCK_SLACK_MS) ?? false,
      dial: opened ? dials.get(key)?.find((dial) => within(dial) && !this.found.dials.has(dial)) : undefined,
      attempt: opened && attempt !== undefined && within(attempt),
    };
  }

  private report(problem: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }
}

function tally(): { of: number; right: number } {
  return { of: 0, right: 0 };
}

/** Undefined when nobody answered. */
export function precision({ right, wrong }: Level): number | undefined {
  return right + wrong === 0 ? undefined : right / (right + wrong);
}

/** Undefined when there was nothing to find. */
export function recall({ of, found }: Level): number | undefined {
  return of === 0 ? undefined : found / of;
}

/** Flows as the bus carries them, or as the command line prints them. */
export function flowAnswers(flows: readonly (Flow | FlowJson)[]): Answer[] {
  return flows.map((flow) => {
    const text = (name: keyof Flow): string => String(flow[name] ?? '');
    const path = text('url.path');
    const [caller, line] = [text('code.function.name'), text('code.line.number')];
    return {
      local: endOf(text('network.local.address'), text('network.local.port')),
      timeMs: typeof flow.time === 'bigint' ? Number(flow.time / 1_000_000n) : Date.parse(text('time')),
      opened: flow['flowtag.connection'] === 'new',
      path: path === '' ? undefined : path,
      reason: text('flowtag.attribution.reason'),
      details: {
        caller: caller === '' ? '' : `${caller} ${text('code.file.path')}:${line}`,
        handler: text('flowtag.request.handler'),
        trace: flow.trace_id ? `${text('trace_id')}-${text('span_id')}` : '',
      },
    };
  });
}

/** As Go prints an address. */
export function endOf(address: string, port: string | number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

export interface Score {
  readonly right: number;
  readonly wrong: number;
  readonly missing: number;
  /** Answers beyond one for each use. */
  readonly surplus: number;
  readonly of: number;
}

/** Uses alone, in one line. */
export function score(requests: readonly DownstreamRequest[], answers: readonly Answer[]): Score {
  const { use, wrong, repeated } = judge(truthOf(requests), answers);
  return { right: use.found, wrong, missing: use.of - use.found, surplus: repeated, of: use.of };
}
