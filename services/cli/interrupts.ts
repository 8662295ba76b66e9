// Ctrl-C and its kin, for verbs that run until they are told to stop.

export interface Interrupts {
  /** The first signal: stop in order. */
  readonly stop: AbortSignal;
  /** The second one: stop at once. */
  readonly kill: AbortSignal;
}

/**
 * One Ctrl-C under `npm start` arrives twice: from the terminal, which signals the whole foreground group, and from
 * npm, which passes on what it gets. What comes this soon after the first is the same key press.
 */
const SAME_PRESS_MS = 500;

export function watchSignals(): Interrupts {
  const [stop, kill] = [new AbortController(), new AbortController()];
  let firstMs = 0;
  const onSignal = (): void => {
    if (!stop.signal.aborted) {
      firstMs = performance.now();
      stop.abort();
    } else if (performance.now() - firstMs > SAME_PRESS_MS) kill.abort();
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  return { stop: stop.signal, kill: kill.signal };
}
