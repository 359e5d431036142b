/** Permissions of the process: the binary has what any role needs, each role gives up the rest. */

/**
 * Gives up permissions for the rest of the process's life. The binary is compiled with
 * `--no-prompt`, so what was given up is refused, never asked for.
 */
export async function giveUp(...names: Deno.PermissionDescriptor["name"][]): Promise<void> {
  for (const name of names) await Deno.permissions.revoke({ name });
}
