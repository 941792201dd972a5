import FoundationEssentials
import Glibc
import LinuxNet
import Logging
import NIOSSL
import Synchronization
import Wire

/// The certificate of the TLS listeners: the configured files, read again when they change, or a development
/// certificate kept in the state directory. New connections get what is current; a bad new file leaves the old in use.
package final class TLSFiles: Sendable {
    /// What a file was when it was last looked at; any difference makes it be read again.
    private struct Mark: Equatable {
        var modified: Int64
        var size: Int64
        var inode: UInt64

        init?(_ path: String) {
            var facts = stat()
            guard stat(path, &facts) == 0 else { return nil }
            modified = Int64(facts.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(facts.st_mtim.tv_nsec)
            size = Int64(facts.st_size)
            inode = UInt64(facts.st_ino)
        }
    }

    private struct State {
        var pair: CertificatePair
        /// Of the HTTP listener, when it asks for certificates of clients.
        var askingContext: NIOSSLContext?
        /// Of the files that were tried last, good or bad, so that a bad one is told of once.
        var marks: [Mark?]
    }

    package static let developmentCertificateName = "development-cert.pem"
    package static let developmentKeyName = "development-key.pem"
    /// A development certificate is replaced so long before it ends.
    private static let renewBefore: TimeInterval = 30 * 86_400
    /// A chain of certificates is a few kilobytes.
    private static let maxFileSize = 1 << 20

    package let certificatePath: String
    package let keyPath: String
    package let isDevelopment: Bool
    /// PEM file of the authorities whose certificates make their holders the operator; empty: none.
    package let clientAuthorities: String
    private let addresses: [SocketAddress]
    private let logger: Logger
    private let state: Mutex<State>

    /// - Parameters:
    ///   - stateDirectory: for the development certificate; made when it is not there.
    ///   - clientAuthorities: `http.admin_client_ca`.
    ///   - addresses: what a new development certificate is for, beside localhost.
    package init(
        _ settings: Configuration.TLS, stateDirectory: String, clientAuthorities: String = "",
        addresses: [SocketAddress] = InterfaceAddresses.all(), logger: Logger
    ) throws(TLSFilesError) {
        isDevelopment = settings.certificate.isEmpty
        certificatePath = isDevelopment ? "\(stateDirectory)/\(Self.developmentCertificateName)" : settings.certificate
        keyPath = isDevelopment ? "\(stateDirectory)/\(Self.developmentKeyName)" : settings.key
        self.clientAuthorities = clientAuthorities
        self.addresses = addresses
        self.logger = logger
        let marks = Self.marks(isDevelopment ? [] : [certificatePath, keyPath], clientAuthorities)
        let pair: CertificatePair
        if isDevelopment {
            pair = try Self.keepDevelopment(certificatePath, keyPath, stateDirectory, addresses, logger)
        } else {
            do {
                pair = try Self.read(certificatePath, keyPath)
            } catch {
                throw TLSFilesError(
                    "tls.certificate \(certificatePath), tls.key \(keyPath): \(error); give a PEM chain and its PEM key "
                        + "that this user may read, or remove both keys for a development certificate")
            }
        }
        do {
            let context = try Self.askingContext(pair, clientAuthorities)
            state = Mutex(State(pair: pair, askingContext: context, marks: marks))
        } catch {
            throw TLSFilesError(
                "http.admin_client_ca \(clientAuthorities): \(error); give a PEM file with the certificates of the "
                    + "authorities")
        }
    }

    package var current: CertificatePair { state.withLock { $0.pair } }

    /// For a new connection. Take it per connection, never once.
    package var context: NIOSSLContext { current.context }

    /// The same for listeners of HLS alone: HTTP/2 or HTTP/1.1.
    package var http2Context: NIOSSLContext { current.http2Context }

    /// The same for the HTTP listener, which asks clients for a certificate if there are authorities for that.
    package var httpContext: NIOSSLContext { state.withLock { $0.askingContext ?? $0.pair.context } }

    /// Looks at the files. Returns whether another certificate is in use now.
    @discardableResult package func reloadIfChanged(now: Date = Date()) -> Bool {
        // Files of the operator's; of the development certificate only the authorities are.
        let hasRead = rereadFiles()
        return isDevelopment ? renewDevelopment(now: now) || hasRead : hasRead
    }

    /// Looks at the files again and again until the task is cancelled.
    package func watch(every interval: Interval) async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .nanoseconds(interval.nanoseconds)) } catch { return }
            reloadIfChanged()
        }
    }

    private func rereadFiles() -> Bool {
        let marks = Self.marks(isDevelopment ? [] : [certificatePath, keyPath], clientAuthorities)
        return state.withLock { state in
            guard marks != state.marks else { return false }
            state.marks = marks
            do {
                let pair = isDevelopment ? state.pair : try Self.read(certificatePath, keyPath)
                state.askingContext = try Self.askingContext(pair, clientAuthorities)
                state.pair = pair
                logger.notice(
                    "Certificate read again",
                    metadata: ["file": .string(certificatePath), "expires": .string(dayText(state.pair.notAfter))])
                return true
            } catch {
                // Often the certificate is new and the key not yet: the key's own change brings us here again.
                logger.error(
                    "Changed certificate is not usable, the old one stays in use",
                    metadata: ["file": .string(certificatePath), "key": .string(keyPath), "error": .string("\(error)")])
                return false
            }
        }
    }

    private func renewDevelopment(now: Date) -> Bool {
        guard current.notAfter.timeIntervalSince(now) < Self.renewBefore else { return false }
        do {
            let pair = try Self.makeDevelopment(certificatePath, keyPath, addresses, now: now)
            let context = try Self.askingContext(pair, clientAuthorities)
            state.withLock {
                $0.pair = pair
                $0.askingContext = context
            }
            logger.notice("Development certificate renewed", metadata: ["file": .string(certificatePath)])
            return true
        } catch {
            logger.error("Development certificate not renewed", metadata: ["error": .string("\(error)")])
            return false
        }
    }

    // MARK: - Files

    private static func marks(_ paths: [String], _ authorities: String) -> [Mark?] {
        (paths + (authorities.isEmpty ? [] : [authorities])).map { Mark($0) }
    }

    private static func askingContext(
        _ pair: CertificatePair, _ authorities: String
    ) throws(TLSFilesError) -> NIOSSLContext? {
        guard !authorities.isEmpty else { return nil }
        let found: [NIOSSLCertificate]
        do {
            found = try NIOSSLCertificate.fromPEMBytes(Array(try text(of: authorities).utf8))
        } catch {
            throw error as? TLSFilesError ?? TLSFilesError("\(authorities) is not a PEM file of certificates")
        }
        // Without any, every authority that the system trusts would make operators.
        guard !found.isEmpty else { throw TLSFilesError("there is no certificate in \(authorities)") }
        return try pair.context(asking: found)
    }

    /// - Throws: which file, and what is wrong with it.
    package static func read(_ certificatePath: String, _ keyPath: String) throws(TLSFilesError) -> CertificatePair {
        try CertificatePair(certificatePEM: text(of: certificatePath), keyPEM: text(of: keyPath))
    }

    private static func text(of path: String) throws(TLSFilesError) -> String {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw TLSFilesError(
                FileManager.default.fileExists(atPath: path)
                    ? "\(path) cannot be read (permissions?)" : "there is no file \(path)")
        }
        guard data.count <= maxFileSize, let text = String(validating: data, as: UTF8.self) else {
            throw TLSFilesError("\(path) is not a PEM file")
        }
        return text
    }

    private static func keepDevelopment(
        _ certificatePath: String, _ keyPath: String, _ directory: String, _ addresses: [SocketAddress],
        _ logger: Logger
    ) throws(TLSFilesError) -> CertificatePair {
        let now = Date()
        if let kept = try? read(certificatePath, keyPath), kept.notAfter.timeIntervalSince(now) > renewBefore {
            return kept
        }
        do {
            try StateDirectory.create(directory)
            let pair = try makeDevelopment(certificatePath, keyPath, addresses, now: now)
            logger.notice(
                "Development certificate made; browsers will ask before they accept it",
                metadata: ["file": .string(certificatePath), "names": .string(pair.names.joined(separator: ","))])
            return pair
        } catch {
            throw TLSFilesError(
                "the development certificate cannot be kept in \(directory): \(error); set state.dir to a directory that "
                    + "this user may write, or set tls.certificate and tls.key")
        }
    }

    private static func makeDevelopment(
        _ certificatePath: String, _ keyPath: String, _ addresses: [SocketAddress], now: Date
    ) throws -> CertificatePair {
        let made = try CertificatePair.makeDevelopment(addresses: addresses, now: now)
        try StateDirectory.write(made.key, to: keyPath, mode: 0o600)
        try StateDirectory.write(made.certificate, to: certificatePath, mode: 0o644)
        return try CertificatePair(certificatePEM: made.certificate, keyPEM: made.key)
    }
}

/// `2027-01-31`.
func dayText(_ date: Date) -> String {
    String(LogLine.timestamp(Int64(date.timeIntervalSince1970) &* 1_000_000_000).prefix(10))
}
