// Waiting for something, but not for ever.

/** Resolves when `promise` settles, however it does, or after `timeoutMs`; leaves no timer running. */
export async function settledWithin(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  const settled = promise.then(
    () => undefined,
    () => undefined,
  );
  await Promise.race([settled, late]).finally(() => clearTimeout(timer));
}
