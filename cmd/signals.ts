/** The signals that ask a role to stop, and the exit codes for them. */
import { ignoresHangup } from "../core/system/process.ts";

/** A signal that asks to stop: from Kubernetes and `kill`, from Ctrl-C, or from a terminal that is closed. */
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
 * Calls `listener` at each signal to stop; returns a function that ends this. A role that was started
 * to ignore SIGHUP (nohup) still ignores it. To find that out takes the permission for the C library.
 */
export function onStopSignal(listener: (signal: StopSignal) => void): () => void {
  const remove = listen(listener);
  listeners++;
  return () => {
    remove();
    // Only when a signal that is being told has reached all listeners.
    setTimeout(() => listeners--);
  };
}

/** Calls `stop` at the first signal; a second one ends the process at once. */
export function onFirstSignal(stop: (signal: StopSignal) => void): () => void {
  let listening = true;
  const removeListeners = onStopSignal((signal) => {
    // Without a listener, the next signal ends the process.
    unlisten();
    stop(signal);
  });
  function unlisten() {
    if (!listening) return;
    listening = false;
    removeListeners();
  }
  return unlisten;
}

/**
 * Resolves to the exit code of a signal to stop that nobody listens to, if this is process 1 of a
 * container: there the system drops such a signal. In another process the signal ends the process, and
 * this never resolves.
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
 * Promises of the first and of the second signal to stop. Every role that runs for long needs them: as
 * process 1 of a container a role does not notice a signal that it does not listen to.
 */
export function stopSignals(): [Promise<StopSignal>, Promise<StopSignal>] {
  const first = Promise.withResolvers<StopSignal>();
  const second = Promise.withResolvers<StopSignal>();
  let come = 0;
  onStopSignal((signal) => {
    if (come++ === 0) first.resolve(signal);
    // A terminal that is closed may send SIGHUP more than once.
    else if (signal !== "SIGHUP") second.resolve(signal);
  });
  return [first.promise, second.promise];
}
