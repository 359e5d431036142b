/** Certificates for tests: an authority, and what it signs, made in memory in some milliseconds. */
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** An authority that nobody trusts unless told to. */
export class Authority {
  readonly #certificate: X509Certificate;
  readonly #keys: CryptoKeyPair;
  #serial = 1;

  private constructor(certificate: X509Certificate, keys: CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
  }

  static async create(): Promise<Authority> {
    const keys = await generateKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: "CN=kvs test authority",
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(),
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new Authority(certificate, keys);
  }

  /** Its own certificate, PEM: what is given to `--ca`. */
  get cert(): string {
    return this.#certificate.toString("pem");
  }

  /** Its own certificate with its key: as `openssl req -x509` makes it, and no server should show it. */
  async asServer(): Promise<KeyPair> {
    return { cert: this.cert, key: await exportKey(this.#keys) };
  }

  /** A certificate for DNS names, and for addresses where they begin with a digit. */
  async sign(names: readonly string[] = ["localhost", "127.0.0.1"]): Promise<KeyPair> {
    const keys = await generateKeys();
    const certificate = await X509CertificateGenerator.create({
      serialNumber: String(++this.#serial).padStart(4, "0"),
      subject: `CN=${names[0] ?? ""}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity(),
      extensions: [
        new SubjectAlternativeNameExtension(
          names.map((value) => ({
            type: /^\d/.test(value) ? "ip" as const : "dns" as const,
            value,
          })),
        ),
      ],
    });
    return { cert: certificate.toString("pem"), key: await exportKey(keys) };
  }
}

async function exportKey({ privateKey }: CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
}

function generateKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

function validity(): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) };
}
