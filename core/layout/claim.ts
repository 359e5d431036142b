/** The header `Kvs-Layout`: what a client says of the layout by which it asks. */
import { InvalidLayoutError } from "../errors.ts";
import { isUuid } from "./layout.ts";

/** What a client says of its layout. */
export interface Claim {
  readonly cluster: string;
  readonly epoch: number;
  /** Whether the source answered 421 for the key in this layout, so that its target has the key. */
  readonly moved: boolean;
}

const CLAIM = /^([^:]+):([1-9]\d{0,15})(;moved)?$/;

/** @throws {InvalidLayoutError} If the header is none. */
export function parseClaim(header: string): Claim {
  const [, cluster = "", epoch, moved] = CLAIM.exec(header) ?? [];
  if (epoch === undefined || !isUuid(cluster)) {
    throw new InvalidLayoutError(
      "Invalid Kvs-Layout: expected CLUSTER:EPOCH, or CLUSTER:EPOCH;moved",
    );
  }
  return { cluster, epoch: Number(epoch), moved: moved !== undefined };
}

/** The text of the header. */
export function formatClaim({ cluster, epoch, moved }: Claim): string {
  return `${cluster}:${epoch}${moved ? ";moved" : ""}`;
}
