import Crypto
import FoundationEssentials
import NIOSSL
import SwiftASN1
import Wire
import X509

/// A certificate chain with its private key, read, checked against each other and ready for a listener.
package struct CertificatePair: Sendable {
    package let chain: [NIOSSLCertificate]
    package let key: NIOSSLPrivateKey
    package let context: NIOSSLContext
    /// The same for listeners that speak HTTP/2, too.
    package let http2Context: NIOSSLContext
    package let notBefore: Date
    package let notAfter: Date
    /// DNS names and addresses that the certificate is for.
    package let names: [String]
    /// Signed by itself: browsers ask before they go on.
    package let isSelfSigned: Bool

    /// - Throws: `TLSFilesError` in words for an operator.
    package init(certificatePEM: String, keyPEM: String) throws(TLSFilesError) {
        let leaf: Certificate
        do {
            let documents = try PEMDocument.parseMultiple(pemString: certificatePEM)
            guard let first = documents.first(where: { $0.discriminator == "CERTIFICATE" }) else {
                throw TLSFilesError("there is no certificate in PEM form in the file")
            }
            leaf = try Certificate(pemDocument: first)
            chain = try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8))
        } catch let error as TLSFilesError {
            throw error
        } catch {
            throw TLSFilesError("the certificate cannot be read: \(error)")
        }
        do {
            key = try NIOSSLPrivateKey(bytes: Array(keyPEM.utf8), format: .pem)
        } catch {
            throw TLSFilesError("there is no private key in PEM form (without password) in the file of the key")
        }
        // Keys that swift-certificates cannot read are left to BoringSSL's own check below.
        if let parsed = try? Certificate.PrivateKey(pemEncoded: keyPEM), parsed.publicKey != leaf.publicKey {
            throw TLSFilesError("the private key is not that of the certificate")
        }
        do {
            var configuration = Self.serverConfiguration(chain: chain, key: key)
            context = try NIOSSLContext(configuration: configuration)
            configuration.applicationProtocols = ["h2", "http/1.1"]
            http2Context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw TLSFilesError("certificate and key cannot be used together: \(error)")
        }
        notBefore = leaf.notValidBefore
        notAfter = leaf.notValidAfter
        isSelfSigned = leaf.issuer == leaf.subject
        let alternatives = try? leaf.extensions.subjectAlternativeNames
        names = (alternatives ?? SubjectAlternativeNames([])).compactMap { name in
            switch name {
            case .dnsName(let text): text
            case .ipAddress(let bytes): addressText(Array(bytes.bytes))
            default: nil
            }
        }
    }

    /// For a listener that asks clients for a certificate of one of these authorities. One that has none is let in all the
    /// same, without being anybody; one with a wrong one is not.
    func context(asking authorities: [NIOSSLCertificate]) throws(TLSFilesError) -> NIOSSLContext {
        var configuration = Self.serverConfiguration(chain: chain, key: key)
        configuration.trustRoots = .certificates(authorities)
        configuration.certificateVerification = .optionalVerification
        // Browsers then ask their users only when they have a fitting certificate.
        configuration.sendCANameList = true
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw TLSFilesError("the authorities cannot be used: \(error)")
        }
    }

    /// TLS 1.2 and later. No ALPN: most listeners speak HTTP/1.1, which the WebSocket upgrade needs.
    static func serverConfiguration(chain: [NIOSSLCertificate], key: NIOSSLPrivateKey) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        // A client that never answers close_notify must not hold up the end of the server.
        configuration.shutdownTimeout = .seconds(1)
        return configuration
    }

    /// A certificate for development: ECDSA P-256, signed by itself, for `localhost`, the loopback addresses and
    /// `addresses`. Valid 397 days, the most that browsers take.
    static func makeDevelopment(addresses: [SocketAddress], now: Date) throws -> (certificate: String, key: String) {
        let key = P256.Signing.PrivateKey()
        let signer = Certificate.PrivateKey(key)
        let loopback = [
            SocketAddress(ipv4: 0x7f00_0001, port: 0), SocketAddress(family: .ipv6, high: 0, low: 1, port: 0),
        ]
        let more = addresses.filter { a in !a.isLoopback && !a.isUnspecified && !a.isLinkLocal }
        let names: [GeneralName] =
            [.dnsName("localhost")]
            + (loopback + more).map { .ipAddress(ASN1OctetString(contentBytes: addressBytes($0)[...])) }
        let subject = try DistinguishedName { CommonName("Weir development") }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: signer.publicKey,
            notValidBefore: now.addingTimeInterval(-86_400), notValidAfter: now.addingTimeInterval(396 * 86_400),
            issuer: subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(digitalSignature: true, keyCertSign: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names)
            }, issuerPrivateKey: signer)
        return (try certificate.serializeAsPEM().pemString + "\n", key.pemRepresentation + "\n")
    }
}

/// What is wrong with the certificate of the TLS listeners.
package struct TLSFilesError: Error, Equatable, CustomStringConvertible {
    package var description: String
    init(_ description: String) { self.description = description }
}

/// The 4 or 16 bytes of an address, as certificates hold them.
private func addressBytes(_ address: SocketAddress) -> [UInt8] {
    func bytes(_ half: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) } }
    return address.family == .ipv4 ? Array(bytes(address.low)[4...]) : bytes(address.high) + bytes(address.low)
}

private func addressText(_ bytes: [UInt8]) -> String? {
    func half(_ part: ArraySlice<UInt8>) -> UInt64 { part.reduce(0) { $0 << 8 | UInt64($1) } }
    switch bytes.count {
    case 4: return SocketAddress(ipv4: UInt32(half(bytes[...])), port: 0).ip
    case 16: return SocketAddress(family: .ipv6, high: half(bytes[..<8]), low: half(bytes[8...]), port: 0).ip
    default: return nil
    }
}
