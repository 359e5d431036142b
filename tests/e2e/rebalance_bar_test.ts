import { assert, assertEquals, assertMatch } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { KVS } from "./program.ts";
import { ManyKeys } from "./rebalance_cluster.ts";

/** Runs a program on a pseudo terminal of 100 columns and passes on what it writes there. */
const ON_TERMINAL = `
import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
    sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
`;

/** A Python that has pseudo terminals; a machine with only Node.js may have none. */
async function findPython(): Promise<string | undefined> {
  for (const python of ["/usr/bin/python3", "python3"]) {
    try {
      const args = ["-c", "import pty, fcntl, os; os.waitstatus_to_exitcode"];
      const { success } = await new Deno.Command(python, { args, stderr: "null" }).output();
      if (success) return python;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

const python = await findPython();

Deno.test({
  name: "on a terminal a bar shows keys, percent, rate and time left" +
    (python === undefined ? " (skipped: there is no python3 to make a pseudo terminal)" : ""),
  ignore: python === undefined,
  async fn() {
    await using cluster = await ManyKeys.start(3, 1500);
    const lists = [cluster.list(3), cluster.list(2)];
    const run = await new Deno.Command(python ?? "", {
      args: ["-c", ON_TERMINAL, KVS, "rebalance", ...lists, "--rate", "1500"],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(run.stdout);
    assertEquals(run.code, 0, text);
    assertMatch(text, /Moving {2}\[#+-+\] +\d+% {2}\d+\/\d+ keys, \d+ keys\/s, \d+:\d\d left/);
    // The bar is wiped out before the summary, which begins a line.
    const shown = stripAnsiCode(text).split(/[\r\n]+/);
    const summary = shown.filter((line) => line.startsWith("1500 keys seen, "));
    assert(summary.length === 1 && summary[0]?.endsWith(" moved)"), text);
    assertEquals(await cluster.view(2), cluster.expected);
  },
});
