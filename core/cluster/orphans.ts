/**
 * The processes that process 1 of a container inherits: the system gives it each one whose parent has ended, and
 * an inherited process that ends stays in the list of processes until process 1 has waited for it.
 */
import { loadLibC } from "../system/libc.ts";
import { isChild } from "./child.ts";

// sys/wait.h of Linux, and where `siginfo_t` has the process (bytes).
const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const SIGINFO_BYTES = 128;
const SI_PID = 16;

/** How often it is looked for processes that have ended (milliseconds). */
const PERIOD_MS = 1000;

/**
 * From now on waits for inherited processes that end, if this is process 1. Those that this program started are left to
 * the runtime, which waits for them itself. Loads the C library, so before the permission for it is given up.
 */
export function adoptOrphans(): void {
  const libc = Deno.pid === 1 ? loadLibC() : undefined;
  if (libc === undefined) return;
  const info = new Uint8Array(SIGINFO_BYTES);
  const fields = new DataView(info.buffer);
  const collect = () => {
    while (true) {
      fields.setInt32(SI_PID, 0, true);
      // Looked at first, without taking: what ended may be a child that the runtime has to see end.
      if (libc.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
      const pid = fields.getInt32(SI_PID, true);
      if (pid === 0 || isChild(pid)) return;
      libc.waitid(P_PID, pid, info, WEXITED | WNOHANG);
    }
  };
  Deno.unrefTimer(setInterval(collect, PERIOD_MS));
}
