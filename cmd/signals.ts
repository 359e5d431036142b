/** The signals that ask a role to stop, and what its exit code is then. */

/** A signal that asks to stop: of Kubernetes and `kill`, or of Ctrl-C. */
export type StopSignal = "SIGTERM" | "SIGINT";

/** The exit codes of a process that a signal ends at once: 128 plus its number. */
export const EXIT_CODES: Readonly<Record<StopSignal, number>> = { SIGTERM: 143, SIGINT: 130 };

/**
 * Promises of the first and of the second signal to stop. Needed by every role that runs for long:
 * as process 1 of a container it would not even notice a signal that it does not listen to.
 */
export function stopSignals(): [Promise<StopSignal>, Promise<StopSignal>] {
  const first = Promise.withResolvers<StopSignal>();
  const second = Promise.withResolvers<StopSignal>();
  let come = 0;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => (come++ === 0 ? first : second).resolve(signal));
  }
  return [first.promise, second.promise];
}
