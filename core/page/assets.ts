/** The files of the page: part of the binary, read once at start. */
import { encodeHex } from "@std/encoding/hex";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** What each path serves. The files lie in core/page/browser/, which `deno compile --include` embeds. */
const FILES: Readonly<Record<string, string>> = {
  "/": "index.html",
  ...Object.fromEntries(
    [
      "controls.js",
      "dom.js",
      "events.js",
      "icon.svg",
      "letters.js",
      "page.css",
      "page.js",
      "servers.js",
      "time_line.js",
    ].map((file) => [`/page/${file}`, file]),
  ),
};

/**
 * Nothing but files of this origin, no script or style within the page, in no frame of another site
 * (where a click could be stolen).
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

/** Headers of every answer that a browser gets. */
export const SAFE_HEADERS = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
} as const;

interface Asset {
  readonly bytes: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly etag: string;
}

/** The files by path. */
export class PageAssets {
  readonly #assets: ReadonlyMap<string, Asset>;

  private constructor(assets: ReadonlyMap<string, Asset>) {
    this.#assets = assets;
  }

  /** Reads all files; to be called while the role may still read. */
  static async load(): Promise<PageAssets> {
    const folder = new URL("./browser/", import.meta.url);
    const assets = Object.entries(FILES).map(async ([path, file]) => {
      const bytes = await Deno.readFile(new URL(file, folder));
      const etag = `"${encodeHex(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 16)}"`;
      const type = TYPES[file.split(".").at(-1) ?? ""] ?? "application/octet-stream";
      const headers = {
        ...SAFE_HEADERS,
        "content-type": type,
        // Asked for each time, answered 304 unless the binary is another.
        "cache-control": "no-cache",
        etag,
      };
      return [path, { bytes, headers, etag }] as const;
    });
    return new PageAssets(new Map(await Promise.all(assets)));
  }

  /** The answer to a request for one of the files, `undefined` if it is for none. */
  answer(request: HttpRequest): HttpResponse | undefined {
    const asset = this.#assets.get(request.path);
    if (asset === undefined) return undefined;
    const { bytes, headers, etag } = asset;
    if (request.header("if-none-match") === etag) return { status: 304, headers };
    return { status: 200, headers, body: bytes };
  }
}
