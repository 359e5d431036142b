/** An act of the story as a test: a cluster of its own, and what its clients printed at the end. */
import { KubeCluster } from "./cluster.ts";
import { type ManifestName } from "./manifest.ts";
import { HAS_PODMAN } from "./podman.ts";
import { type Rows } from "./rows.ts";

if (!HAS_PODMAN) {
  console.log("podman is not installed, or cannot run here: the tests with containers are ignored");
}

/** What an act works with. */
export interface Stage {
  readonly cluster: KubeCluster;
  /** For acts of several parts. */
  readonly step: (part: Deno.TestStepDefinition) => Promise<boolean>;
}

/** Plays `play` as a test; ignored where there is no podman. It returns what is to be shown. */
export function act(name: string, play: (stage: Stage) => Promise<readonly Rows[]>): void {
  Deno.test({
    name,
    ignore: !HAS_PODMAN,
    async fn(context) {
      await using cluster = await KubeCluster.open();
      try {
        const shown = await play({ cluster, step: (part) => context.step(part) });
        if (shown.length > 0) {
          console.log(shown.map(({ log }) => log.lines.join("\n")).join("\n\n"));
        }
      } catch (error) {
        console.log(cluster.events.join("\n"));
        throw error;
      }
    },
  });
}

/** Applies a set of servers and a client that writes; resolves when all letters hit. */
export async function startAll(cluster: KubeCluster, servers: ManifestName): Promise<Rows> {
  await cluster.apply(servers);
  await cluster.set.settled();
  await cluster.apply("client.yaml");
  const rows = await cluster.rows("client");
  await rows.untilServers("hhh");
  rows.mark();
  return rows;
}
