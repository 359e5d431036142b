/** What the kernel says of a process in a Pod: the manifest's security context is what it runs with. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { act } from "./act.ts";

act("the security context holds as written", async ({ cluster }) => {
  await cluster.apply("server-disk.yaml");
  await cluster.set.settled();
  const pod = cluster.pod("server-0");

  const pid = await pod.pid();
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  assertMatch(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
  assertMatch(status, /^Gid:\t65532\t65532\t65532\t65532$/m);
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    assertMatch(status, new RegExp(`^${set}:\\t0+$`, "m"));
  }
  assertMatch(status, /^NoNewPrivs:\t1$/m);
  assertMatch(status, /^Seccomp:\t2$/m);
  const root = (await Deno.readTextFile(`/proc/${pid}/mountinfo`)).split("\n")
    .map((line) => line.split(" ")).find(([, , , , mountPoint]) => mountPoint === "/");
  assertMatch(root?.[5] ?? "", /^ro\b/);

  // It listens on port 80 all the same, answers by its name, and there is no shell to be had.
  assertEquals((await cluster.get("server-0.server", "/healthz"))?.status, 200);
  await assertRejects(() => pod.exec("/bin/sh", "-c", "true"), Error, "no such file");
  // A disk comes with a folder that is not a key.
  assert((await Deno.stat(`${pod.volume("data")}/lost+found`)).isDirectory);
  assertEquals(await cluster.get("server-0.server", "/allKeys"), { status: 200, body: "" });
  return [];
});
