/** SIGHUP: sent when a terminal is closed, unless it was not to matter from the start. */
import { loadLibC } from "./libc.ts";

// signal.h of Linux.
const SIGHUP = 1;
const SIG_IGN = 1n;

/** Room for a `struct sigaction` (bytes), whose handler stands first. */
const SIGACTION_BYTES = 256;

/**
 * Whether the process ignores SIGHUP, as one that was started by nohup(1); to listen to the signal would
 * undo that. `false` where the C library cannot be had.
 */
export function ignoresHangup(): boolean {
  const action = new Uint8Array(SIGACTION_BYTES);
  if (loadLibC()?.sigaction(SIGHUP, null, action) !== 0) return false;
  return new DataView(action.buffer).getBigUint64(0, true) === SIG_IGN;
}
