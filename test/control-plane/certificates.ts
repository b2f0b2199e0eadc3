/**
 * Certificates for the programs of a test control plane, signed by an authority that lives as long as it does.
 * Written out in DER over `node:crypto`: neither openssl nor a certificate library is needed.
 */
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

export interface CertificateAuthority {
  /** PEM of the authority's own certificate, and of its key. */
  certificate: string;
  key: string;
  /** Makes a key and a certificate for servers and clients alike; `names` are DNS names and IPv4 addresses. */
  issue(subject: CertificateSubject, names?: string[]): { certificate: string; key: string };
}

export interface CertificateSubject {
  commonName: string;
  /** Kubernetes reads it as the user's group. */
  organization?: string;
}

/**
 * Creates an authority with a new key; everything it signs is valid from yesterday for a year.
 * @param options.names are DNS names of the authority itself
 * @param options.isRsa has an RSA key, in PKCS #1, for programs that read no other
 */
export function createCertificateAuthority(
  commonName: string,
  { names = [], isRsa = false }: { names?: string[]; isRsa?: boolean } = {},
): CertificateAuthority {
  const { privateKey, publicKey } = isRsa
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = { subject: { commonName }, keyId: keyIdentifier(publicKey), privateKey };
  const basicConstraints = extension('2.5.29.19', true, sequence(der(0x01, Buffer.from([0xff]))));
  const certificateSigning = extension('2.5.29.15', true, der(0x03, Buffer.from([1, 0x06])));
  return {
    certificate: certify(issuer, { commonName }, publicKey, [
      basicConstraints,
      certificateSigning,
      ...subjectNames(names),
    ]),
    key: isRsa ? (privateKey.export({ type: 'pkcs1', format: 'pem' }) as string) : toPem(privateKey),
    issue(subject, names = []) {
      const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const extensions = [
        extension('2.5.29.15', true, der(0x03, Buffer.from([7, 0x80]))),
        extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))),
        ...subjectNames(names),
      ];
      return {
        certificate: certify(issuer, subject, keys.publicKey, extensions),
        key: toPem(keys.privateKey),
      };
    },
  };
}

/** Creates an EC key pair as PEM, e.g. for signing service accounts' tokens. */
export function createKeyPair(): { privateKey: string; publicKey: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string;
  return { privateKey: toPem(privateKey), publicKey };
}

interface Issuer {
  subject: CertificateSubject;
  keyId: Buffer;
  privateKey: KeyObject;
}

function certify(issuer: Issuer, subject: CertificateSubject, key: KeyObject, extensions: Buffer[]): string {
  const dayMs = 24 * 3600 * 1000;
  const signatureAlgorithm =
    issuer.privateKey.asymmetricKeyType === 'rsa'
      ? sequence(oid('1.2.840.113549.1.1.11'), der(0x05)) // sha256WithRSAEncryption
      : sequence(oid('1.2.840.10045.4.3.2')); // ecdsa-with-SHA256
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // X.509 version 3
    serialNumber(),
    signatureAlgorithm,
    distinguishedName(issuer.subject),
    sequence(time(Date.now() - dayMs), time(Date.now() + 365 * dayMs)),
    distinguishedName(subject),
    key.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        ...extensions,
        extension('2.5.29.14', false, der(0x04, keyIdentifier(key))),
        extension('2.5.29.35', false, sequence(der(0x80, issuer.keyId))),
      ),
    ),
  );
  const signature = sign('sha256', body, issuer.privateKey);
  const certificate = sequence(body, signatureAlgorithm, der(0x03, Buffer.from([0]), signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName({ commonName, organization }: CertificateSubject): Buffer {
  const attribute = (type: string, value: string): Buffer =>
    der(0x31, sequence(oid(type), der(0x0c, Buffer.from(value))));
  return sequence(
    ...(organization === undefined ? [] : [attribute('2.5.4.10', organization)]),
    attribute('2.5.4.3', commonName),
  );
}

function subjectNames(names: string[]): Buffer[] {
  return names.length === 0 ? [] : [extension('2.5.29.17', false, sequence(...names.map(subjectName)))];
}

function subjectName(name: string): Buffer {
  if (isIP(name) === 4) return der(0x87, Buffer.from(name.split('.').map(Number)));
  return der(0x82, Buffer.from(name));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

/** UTCTime, which is what X.509 wants until 2049. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, '');
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const base128 = [arc & 0x7f];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) {
      base128.unshift((high & 0x7f) | 0x80);
    }
    bytes.push(...base128);
  }
  return der(0x06, Buffer.from(bytes));
}

/** Positive and in its shortest form, as DER demands and Go checks: the first byte is 0x40 to 0x7f. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return der(0x02, bytes);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

function toPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}
