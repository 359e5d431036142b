/** The files of the page. They are embedded in the binary and read once at start. */
import { encodeHex } from "@std/encoding/hex";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** The file of each path. `deno compile --include` embeds the folder core/page/browser/. */
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
 * Allows only files of this origin, and no script or style inside the page. Other sites cannot show
 * the page in a frame, which could steal a click.
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

  /** Reads all files. To be called before the process gives up its permission to read. */
  static async load(): Promise<PageAssets> {
    const folder = new URL("./browser/", import.meta.url);
    const assets = Object.entries(FILES).map(async ([path, file]) => {
      const bytes = await Deno.readFile(new URL(file, folder));
      const etag = `"${encodeHex(await crypto.subtle.digest("SHA-256", bytes)).slice(0, 16)}"`;
      const type = TYPES[file.split(".").at(-1) ?? ""] ?? "application/octet-stream";
      const headers = {
        ...SAFE_HEADERS,
        "content-type": type,
        // Browsers ask each time, and get 304 unless the binary is another one.
        "cache-control": "no-cache",
        etag,
      };
      return [path, { bytes, headers, etag }] as const;
    });
    return new PageAssets(new Map(await Promise.all(assets)));
  }

  /** The answer to a request for one of the files; `undefined` if the path is none of theirs. */
  answer(request: HttpRequest): HttpResponse | undefined {
    const asset = this.#assets.get(request.path);
    if (asset === undefined) return undefined;
    const { bytes, headers, etag } = asset;
    if (request.header("if-none-match") === etag) return { status: 304, headers };
    return { status: 200, headers, body: bytes };
  }
}
