/** Volumes as the kubelet makes them: folders of the host, some of them memory. */
import { join } from "@std/path";
import { bytesOf, type IPodSpec, required } from "./manifest.ts";
import { run } from "./podman.ts";

/** Volumes of one Pod, mounted on the host until {@link PodVolumes.release}. */
export class PodVolumes {
  readonly #mounted: string[] = [];
  readonly #paths = new Map<string, string>();

  /**
   * Takes the claims as they are and makes the volumes that live as long as the Pod, in `folder`.
   *
   * @param claims Folders of the claims, by the name of the volume.
   */
  static async prepare(
    spec: IPodSpec,
    folder: string,
    claims: ReadonlyMap<string, string>,
  ): Promise<PodVolumes> {
    const volumes = new PodVolumes();
    for (const [name, path] of claims) volumes.#paths.set(name, path);
    for (const { name, emptyDir, ...others } of spec.volumes ?? []) {
      if (emptyDir === undefined || Object.keys(others).length > 0) {
        throw new TypeError(`Only emptyDir is played here: volume ${name}`);
      }
      const path = join(folder, name);
      await Deno.mkdir(path, { recursive: true });
      if (emptyDir.medium === "Memory") {
        const size = bytesOf(emptyDir.sizeLimit);
        await run("mount", "-t", "tmpfs", "-o", `size=${size},mode=0777`, "tmpfs", path);
        volumes.#mounted.push(path);
      } else {
        await Deno.chmod(path, 0o777);
      }
      volumes.#paths.set(name, path);
    }
    const { fsGroup, fsGroupChangePolicy } = spec.securityContext ?? {};
    if (fsGroup !== undefined) {
      for (const path of volumes.#paths.values()) {
        await applyGroup(path, fsGroup, fsGroupChangePolicy === "OnRootMismatch");
      }
    }
    return volumes;
  }

  /** The folder of the host behind a volume. */
  path(name: string): string {
    return required(this.#paths.get(name), `volume ${name}`);
  }

  /** Lets go of what lives as long as the Pod. */
  async release(): Promise<void> {
    for (const path of this.#mounted.splice(0)) await run("umount", path);
  }
}

/** The bits that the kubelet gives the group: read, write, and for folders enter and inherit. */
const GROUP_FILE = 0o660;
const GROUP_FOLDER = 0o2770;

/** Gives a volume to a group, as the kubelet does before the containers start. */
async function applyGroup(path: string, group: number, onlyOnMismatch: boolean): Promise<void> {
  const { gid, mode } = await Deno.lstat(path);
  if (onlyOnMismatch && gid === group && ((mode ?? 0) & GROUP_FOLDER) === GROUP_FOLDER) return;
  await Deno.chown(path, null, group);
  await Deno.chmod(path, (mode ?? 0) & 0o7777 | GROUP_FOLDER);
  for await (const entry of Deno.readDir(path)) {
    const child = join(path, entry.name);
    if (entry.isDirectory) await applyGroup(child, group, false);
    else if (entry.isFile) {
      await Deno.chown(child, null, group);
      await Deno.chmod(child, ((await Deno.stat(child)).mode ?? 0) & 0o7777 | GROUP_FILE);
    }
  }
}

/** A new volume as a disk driver hands it out: an ext4 that belongs to root, with its lost+found. */
export async function makeDisk(path: string): Promise<void> {
  await Deno.mkdir(join(path, "lost+found"), { recursive: true });
  await Deno.chmod(join(path, "lost+found"), 0o700);
  await Deno.chmod(path, 0o755);
}
