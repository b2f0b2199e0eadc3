import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { createCertificateAuthority } from './certificates.ts';

describe('createCertificateAuthority', () => {
  it('signs its own certificate and those it issues', () => {
    const authority = createCertificateAuthority('test-ca');
    const root = new X509Certificate(authority.certificate);
    const issued = new X509Certificate(authority.issue({ commonName: 'someone' }).certificate);
    expect(root.ca).to.equal(true);
    expect(root.verify(root.publicKey)).to.equal(true);
    expect(issued.ca).to.equal(false);
    expect(issued.verify(root.publicKey)).to.equal(true);
    expect(issued.checkIssued(root)).to.equal(true);
    expect(new Date(issued.validTo).getTime()).to.be.greaterThan(Date.now());
  });

  it('gives each certificate its own serial number, positive and in the shortest form', () => {
    const authority = createCertificateAuthority('test-ca');
    const serials = Array.from(
      { length: 50 },
      () => new X509Certificate(authority.issue({ commonName: 'a' }).certificate).serialNumber,
    );
    expect(new Set(serials).size).to.equal(50);
    for (const serial of serials) expect(serial).to.match(/^[4-7][0-9A-F]{31}$/);
  });

  it('completes a TLS handshake between a server and a client that has an organization', async () => {
    const authority = createCertificateAuthority('test-ca');
    const { certificate: cert, key } = authority.issue({ commonName: 'server' }, ['localhost', '127.0.0.1']);
    const admin = authority.issue({ commonName: 'admin', organization: 'system:masters' });
    const server = createServer({ cert, key, ca: authority.certificate, requestCert: true }).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connect({
      port,
      host: '127.0.0.1',
      ca: authority.certificate,
      cert: admin.certificate,
      key: admin.key,
    });
    const [[accepted]] = (await Promise.all([
      once(server, 'secureConnection'),
      once(socket, 'secureConnect'),
    ])) as [[TLSSocket], unknown];
    expect(socket.authorized).to.equal(true);
    expect(accepted.getPeerCertificate().subject).to.include({ CN: 'admin', O: 'system:masters' });
    socket.destroy();
    server.close();
  });

  it('is not trusted for a name that the certificate does not have', () => {
    const issued = createCertificateAuthority('test-ca').issue({ commonName: 'x' }, ['localhost']);
    const certificate = new X509Certificate(issued.certificate);
    expect(certificate.checkHost('localhost')).to.equal('localhost');
    expect(certificate.checkHost('example.com')).to.equal(undefined);
    expect(certificate.checkIP('127.0.0.1')).to.equal(undefined);
  });
});
