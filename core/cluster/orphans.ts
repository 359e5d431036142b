/**
 * The processes that process 1 of a container inherits. The system gives it each process whose parent has ended. Such
 * a process stays in the list of processes after its end, until process 1 has waited for it.
 */
import { loadLibC } from "../system/libc.ts";
import { isChild } from "./child.ts";

// sys/wait.h of Linux, and the offset of the process id in `siginfo_t` (bytes).
const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const SIGINFO_BYTES = 128;
const SI_PID = 16;

/** Time from one look for processes that have ended to the next (milliseconds). */
const PERIOD_MS = 1000;

/**
 * From now on waits for inherited processes that end, if this is process 1. The runtime waits for the processes that
 * this program started. To be called before the permission for FFI is given up, because it loads the C library.
 */
export function adoptOrphans(): void {
  const libc = Deno.pid === 1 ? loadLibC() : undefined;
  if (libc === undefined) return;
  const info = new Uint8Array(SIGINFO_BYTES);
  const fields = new DataView(info.buffer);
  const collect = () => {
    while (true) {
      fields.setInt32(SI_PID, 0, true);
      // WNOWAIT leaves the process there, because it may be a child whose end the runtime has to see.
      if (libc.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
      const pid = fields.getInt32(SI_PID, true);
      if (pid === 0 || isChild(pid)) return;
      libc.waitid(P_PID, pid, info, WEXITED | WNOHANG);
    }
  };
  Deno.unrefTimer(setInterval(collect, PERIOD_MS));
}
