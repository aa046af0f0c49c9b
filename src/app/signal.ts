/**
 * Waits for the signals that end a program cleanly.
 */

/** The first of SIGTERM and SIGINT that arrives from now on. */
export function endSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  return promise;
}
