/** `srv:` items against a real name server. */
import { createSocket } from "node:dgram";
import { assertEquals, assertMatch } from "@std/assert";
import { kvs, Server, TempDir } from "../e2e/program.ts";
import { Dnsmasq, HAS_DNSMASQ, type Srv } from "./dnsmasq.ts";

const SERVICE = "server.default.svc.test";

/** The Pods of a headless Service, in an order that is not that of their ordinals. */
function pods(name: string, ordinals: readonly number[], port: (ordinal: number) => number): Srv[] {
  return ordinals.map((ordinal) => [name, `server-${ordinal}.${SERVICE}`, port(ordinal)]);
}

const TWELVE = [10, 2, 11, 0, 7, 1, 9, 3, 8, 4, 6, 5];

function dnsTest(name: string, test: () => Promise<void>): void {
  Deno.test({
    name: HAS_DNSMASQ ? name : `${name} (skipped: needs dnsmasq, apt-get install dnsmasq-base)`,
    ignore: !HAS_DNSMASQ,
    fn: test,
  });
}

dnsTest(
  "srv: stands for the targets of the record, in the order of ordinals, with ports",
  async () => {
    await using dns = await Dnsmasq.start([
      ...pods(SERVICE, TWELVE, (ordinal) => ordinal === 2 ? 8002 : 80),
      ...pods(`_http._tcp.${SERVICE}`, [1, 0], () => 8080),
      // More than fits into a UDP answer, which the resolver then asks for over TCP.
      ...pods("many.test", Array.from({ length: 60 }, (_, n) => 59 - n), () => 80),
      ...pods("gap.test", [2, 0], () => 80),
    ]);
    const where = async (item: string) => {
      const { code, stdout, stderr } = await kvs(["where", "a", "--servers", item], {
        env: { KVS_DNS: dns.address },
      });
      return { code, owner: stdout.split(" ")[0], stderr };
    };
    const list = Array.from(
      { length: 12 },
      (_, ordinal) => `server-${ordinal}.${SERVICE}${ordinal === 2 ? ":8002" : ""}`,
    );
    // "a" is 97, and 97 % 12 is 1.
    for (const item of [`srv:${SERVICE}`, `srv:${SERVICE}.`, `srv:${SERVICE}/12`]) {
      const stderr = `${item} = ${list.join(",")}\n`;
      assertEquals(await where(item), { code: 0, owner: `server-1.${SERVICE}`, stderr });
    }
    assertEquals((await where(`srv:_http._tcp.${SERVICE}`)).owner, `server-1.${SERVICE}:8080`);
    assertEquals((await where("srv:many.test/60")).owner, `server-37.${SERVICE}`);

    const failures: [string, RegExp][] = [
      [
        "srv:gap.test",
        /^srv:gap\.test names server-2\.server\.default\.svc\.test, but no ordinal 1: /,
      ],
      [`srv:${SERVICE}/13`, /names 12 servers, not 13$/],
      [
        "srv:nobody.test",
        /^Cannot resolve srv:nobody\.test: the name server .* has no such SRV record$/,
      ],
      [
        "srv:bad..name",
        /^Cannot resolve srv:bad\.\.name: the name server .* cannot be asked for it$/,
      ],
    ];
    for (const [item, message] of failures) {
      const { code, owner, stderr } = await where(item);
      assertEquals([item, code, owner], [item, 2, ""]);
      assertMatch(stderr.replace(/\n$/, ""), message);
      const client = await kvs(["client", item, "--rows", "1", "--dns", dns.address]);
      assertEquals([client.code, client.stdout, client.stderr], [1, "", stderr]);
    }
  },
);

dnsTest("client, put, get, keys and rebalance find live servers by srv:", async () => {
  await using dirs = new TempDir();
  await using zero = await Server.start(dirs.join("0"));
  await using one = await Server.start(dirs.join("1"));
  // Names that resolve without a name server: the targets are sorted as text, having no ordinals.
  await using dns = await Dnsmasq.start([
    ["live.test", "localhost", Math.max(zero.port, one.port)],
    ["live.test", "127.0.0.1", Math.min(zero.port, one.port)],
    ["first.test", "127.0.0.1", Math.min(zero.port, one.port)],
  ]);
  const first = zero.port < one.port ? zero : one;
  const list = `127.0.0.1:${first.port},localhost:${Math.max(zero.port, one.port)}`;
  const run = async (item: string, ...args: string[]) => {
    const { code, stdout, stderr } = await kvs(args, {
      env: { KVS_DNS: dns.address, KVS_SERVERS: item },
    });
    assertEquals([code, stderr.split("\n")[0]], [0, `srv:live.test/2 = ${list}`]);
    return stdout;
  };
  const item = "srv:live.test/2";
  await run(item, "put", "greeting", "hello");
  assertEquals(await run(item, "get", "greeting"), "hello");
  const rows = await run(item, "client", item, "--rows", "2", "--interval", "0");
  assertMatch(rows, /h{26} \| hits = 26 \(100%\)\n$/);
  assertEquals((await run(item, "keys")).split("\n").length, 26 + 1 + 1);
  await run(item, "rebalance", item, "srv:first.test/1");
  assertEquals((await first.ask("/allKeys")).body.split(",").length, 27);
});

dnsTest("a name server that does not answer is one line", async () => {
  // Bound, and deaf.
  const deaf = createSocket("udp4");
  try {
    await new Promise<void>((bound) => deaf.bind(0, "127.0.0.1", bound));
    const address = `127.0.0.1:${deaf.address().port}`;
    const { code, stderr } = await kvs(["keys", "--servers", "srv:x.test", "--dns", address]);
    const why = `no answer from the name server ${address} within 5 s`;
    assertEquals([code, stderr], [2, `Cannot resolve srv:x.test: ${why}\n`]);
  } finally {
    await new Promise<void>((closed) => deaf.close(closed));
  }
});
