/** The signals that ask a role to stop, and what its exit code is then. */
import { ignoresHangup } from "../core/system/process.ts";

/** A signal that asks to stop: of Kubernetes and `kill`, of Ctrl-C, or of a terminal that is closed. */
export type StopSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

/** The exit codes of a process that a signal ends: 128 plus its number. */
export const EXIT_CODES: Readonly<Record<StopSignal, number>> = {
  SIGTERM: 143,
  SIGINT: 130,
  SIGHUP: 129,
};

/** How many times {@link onStopSignal} is in force. */
let listeners = 0;

/**
 * Calls `listener` at each signal to stop; returns what ends that. A role that began to ignore SIGHUP
 * (nohup) goes on to. Needs the permission for the C library, to know that.
 */
export function onStopSignal(listener: (signal: StopSignal) => void): () => void {
  const remove = listen(listener);
  listeners++;
  return () => {
    remove();
    // Not before a signal that is being told has been told to everyone.
    setTimeout(() => listeners--);
  };
}

/**
 * Resolves to the exit code of a signal to stop that nobody listens to, if this is process 1 of a container: there the
 * system drops such a signal. Elsewhere it ends the process, and this never resolves.
 */
export async function endedAsInit(): Promise<number> {
  return await new Promise((resolve) => {
    if (Deno.pid !== 1) return;
    listen((signal) => {
      if (listeners === 0) resolve(EXIT_CODES[signal]);
    });
  });
}

function listen(listener: (signal: StopSignal) => void): () => void {
  const names: StopSignal[] = ["SIGTERM", "SIGINT"];
  if (!ignoresHangup()) names.push("SIGHUP");
  const removals = names.map((name) => {
    const listen = () => listener(name);
    Deno.addSignalListener(name, listen);
    return () => Deno.removeSignalListener(name, listen);
  });
  return () => removals.forEach((remove) => remove());
}

/**
 * Promises of the first and of the second signal to stop. Needed by every role that runs for long:
 * as process 1 of a container it would not even notice a signal that it does not listen to.
 */
export function stopSignals(): [Promise<StopSignal>, Promise<StopSignal>] {
  const first = Promise.withResolvers<StopSignal>();
  const second = Promise.withResolvers<StopSignal>();
  let come = 0;
  onStopSignal((signal) => {
    if (come++ === 0) first.resolve(signal);
    // A terminal that is closed may say so in several ways, but never means the second time.
    else if (signal !== "SIGHUP") second.resolve(signal);
  });
  return [first.promise, second.promise];
}
