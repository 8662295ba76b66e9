// The services of `up` and how it knows that they work.
import { setTimeout as sleep } from 'node:timers/promises';
import { readStatus, type Status } from '../../schemas/status.ts';
import { STATUS_SUBJECTS } from '../../schemas/subjects.ts';
import type { Bus } from '../runtime/bus.ts';
import type { Command } from './installation.ts';
import { StatusBoard } from './status-board.ts';
import type { ChildSpec } from './supervised-child.ts';
import type { Say } from './terminal.ts';

/** In the order of starting; stopped the other way round, so that nothing that was captured is left on the way. */
const ROLES = ['sink', 'correlator', 'capture'] as const satisfies readonly Status['role'][];

const READY_TIMEOUT_MS = 60_000;
const REMINDER_MS = 10_000;
const POLL_MS = 50;

export interface Watch {
  readonly targets: readonly string[];
  readonly auto: boolean;
  readonly channels: readonly string[];
}

export function serviceSpecs(
  verb: (name: string, args: readonly string[]) => Command,
  server: string,
  dataDir: string,
  watch: Watch,
): ChildSpec[] {
  // Its own server asks for none: what the environment names is for another one. So are addresses to listen on.
  const access = ['--creds=', '--tls-ca=', '--ops-listen=off'];
  const common = [`--server=${server}`, ...access, `--data-dir=${dataDir}`];
  const ofCapture = [
    ...watch.targets.map((target) => `--target=${target}`),
    ...(watch.auto ? ['--auto'] : []),
    ...watch.channels.map((target) => `--channels=${target}`),
  ];
  return ROLES.map((name) => ({
    name,
    command: verb(name, name === 'capture' ? [...common, ...ofCapture] : common),
    restart: true,
  }));
}

/** Says what the heartbeats note, for as long as the bus is open. */
export function watchServices(bus: Bus, say: Say): StatusBoard {
  const board = new StatusBoard();
  bus.subscribe(STATUS_SUBJECTS, (message) => {
    const beat = readStatus(message);
    if (beat) for (const note of board.accept(beat, performance.now())) say(note);
  });
  return board;
}

/** True when all services are up; false, and said, when they took too long. */
export async function untilReady(board: StatusBoard, say: Say, end: AbortSignal): Promise<boolean> {
  const startMs = performance.now();
  for (let reminderMs = startMs + REMINDER_MS; !end.aborted; await sleep(POLL_MS)) {
    const nowMs = performance.now();
    const waiting = board.waitingFor(ROLES, nowMs).join(', ');
    if (waiting === '') return true;
    if (nowMs - startMs > READY_TIMEOUT_MS) {
      say(`not ready after ${READY_TIMEOUT_MS / 1000} s: ${waiting}; going on with what there is`);
      return false;
    }
    if (nowMs < reminderMs) continue;
    say(`waiting for ${waiting}`);
    reminderMs = nowMs + REMINDER_MS;
  }
  return false;
}
