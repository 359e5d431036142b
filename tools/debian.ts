/**
 * Installs packages on a Debian where this runs as root, unless they are there:
 *
 *     deno run --allow-run tools/debian.ts PACKAGE...
 *
 * Where that cannot be, it says so and goes on: the tests that need them say that they are skipped.
 *
 * @module
 */

async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, {
      args: [...args],
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).output();
    return success;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

/** Installs `packages` as far as they are missing; tells on stderr where that fails. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  if (await isInstalled(packages)) return;
  await succeeds("apt-get", ["update", "-qq"]);
  const install = ["install", "-y", "-qq", "--no-install-recommends", ...packages];
  if (!await succeeds("apt-get", install)) console.error(`Not installed: ${packages.join(" ")}`);
}

async function isInstalled(packages: readonly string[]): Promise<boolean> {
  try {
    const { stdout } = await new Deno.Command("dpkg-query", {
      args: ["--show", "--showformat=${db:Status-Status}\\n", ...packages],
      stdin: "null",
      stderr: "null",
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    return lines.length === packages.length && lines.every((line) => line === "installed");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

if (import.meta.main) await installPackages(Deno.args);
