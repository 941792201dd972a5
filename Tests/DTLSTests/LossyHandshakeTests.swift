import DTLS
import Glibc
import Testing
import Wire

/// Handshakes over a link that loses, reorders and duplicates. OpenSSL's timers read the wall clock, so this one part
/// of proof 3 runs in real time; every handshake of a test runs at once.
@Suite struct LossyHandshakeTests {
    /// Handshakes side by side: enough that each datagram of a handshake is lost in some.
    private static let pairs = 20
    private static let limit = Duration.seconds(120)

    private struct Link {
        var random: SeededRandom
        let loss: Double
        /// Of the datagrams of one flight, and beyond it to the next.
        let reordering = 0.2
        let duplication = 0.1
        private(set) var lost = 0
        private var held: [[UInt8]] = []

        init(seed: UInt64, loss: Double) {
            random = SeededRandom(seed: seed)
            self.loss = loss
        }

        private mutating func happens(_ probability: Double) -> Bool {
            Double.random(in: 0..<1, using: &random) < probability
        }

        /// What arrives when these are sent: a datagram that is held back arrives with the next ones.
        mutating func carry(_ datagrams: [[UInt8]]) -> [[UInt8]] {
            var out: [[UInt8]] = []
            for datagram in datagrams {
                guard !happens(loss) else {
                    lost += 1
                    continue
                }
                if happens(reordering) {
                    held.append(datagram)
                    continue
                }
                out.append(datagram)
                if happens(duplication) { out.append(datagram) }
            }
            guard !out.isEmpty else { return [] }
            out += held
            held.removeAll()
            return out
        }
    }

    private final class Pair {
        let client: DTLSSession
        let server: DTLSSession
        var up: Link
        var down: Link

        init(security: Security, seed: UInt64, loss: Double, now: Instant) throws {
            client = try DTLSSession(
                context: security.client, role: .client, fingerprints: security.serverFingerprint, now: now)
            server = try DTLSSession(
                context: security.server, role: .server, fingerprints: security.clientFingerprint, now: now)
            up = Link(seed: seed, loss: loss)
            down = Link(seed: seed + 1, loss: loss)
        }

        func turn(now: Instant) {
            client.poll(now: now)
            server.poll(now: now)
            for datagram in up.carry(Self.drain(client)) { server.handle(datagram.span.bytes, now: now) }
            for datagram in down.carry(Self.drain(server)) { client.handle(datagram.span.bytes, now: now) }
        }

        private static func drain(_ session: DTLSSession) -> [[UInt8]] {
            var out: [[UInt8]] = []
            while let datagram = session.nextDatagram() { out.append(datagram) }
            return out
        }
    }

    private struct Security {
        let client: DTLSContext
        let server: DTLSContext
        let clientFingerprint: [DTLSFingerprint]
        let serverFingerprint: [DTLSFingerprint]

        init() throws {
            let a = try DTLSCertificate.generate()
            let b = try DTLSCertificate.generate()
            client = try DTLSContext(certificate: a, profiles: SRTPProfile.allCases)
            server = try DTLSContext(certificate: b, profiles: [.aeadAES128GCM])
            clientFingerprint = [DTLSFingerprint(algorithm: "sha-256", hex: a.fingerprintSHA256)].compactMap { $0 }
            serverFingerprint = [DTLSFingerprint(algorithm: "sha-256", hex: b.fingerprintSHA256)].compactMap { $0 }
        }
    }

    @Test(arguments: [0.05, 0.30]) func everyHandshakeEndsInTheSameKeys(loss: Double) throws {
        let security = try Security()
        let clock = ContinuousClock()
        let start = clock.now
        func now() -> Instant {
            let (seconds, attoseconds) = (clock.now - start).components
            return Instant(nanoseconds: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        }
        let pairs = try (0..<Self.pairs).map {
            try Pair(security: security, seed: UInt64($0) * 2 + UInt64(loss * 1000), loss: loss, now: now())
        }
        for pair in pairs { pair.client.start(now: now()) }
        while clock.now - start < Self.limit, !pairs.allSatisfy({ $0.client.keys != nil && $0.server.keys != nil }) {
            for pair in pairs { pair.turn(now: now()) }
            // The wait of an event loop until the next timer, at most.
            let next = pairs.flatMap { [$0.client.deadline, $0.server.deadline] }.compactMap { $0 }.min()
            let wait = next.map { min(max(($0 - now()).microseconds, 100), 2_000) } ?? 100
            usleep(UInt32(wait))
        }
        let lost = pairs.reduce(0) { $0 + $1.up.lost + $1.down.lost }
        #expect(lost > Self.pairs / 8, "the links lost \(lost) datagrams: the test proves nothing")
        for (i, pair) in pairs.enumerated() {
            let client = try #require(pair.client.keys, "client \(i) is \(pair.client.state)")
            let server = try #require(pair.server.keys, "server \(i) is \(pair.server.state)")
            #expect(client.localKey == server.remoteKey && client.remoteKey == server.localKey)
        }
    }

    @Test func theFirstRetransmissionComesWithinATenthOfASecond() throws {
        let security = try Security()
        let pair = try Pair(security: security, seed: 1, loss: 0, now: .zero)
        pair.client.start(now: .zero)
        let hello = try #require(pair.client.nextDatagram())
        while pair.client.nextDatagram() != nil {}
        let deadline = try #require(pair.client.deadline)
        #expect(deadline > .zero && deadline - .zero <= .milliseconds(100))
        usleep(105_000)
        pair.client.poll(now: .zero + .milliseconds(105))
        let again = try #require(pair.client.nextDatagram())
        // Record and message sequence aside, the same hello.
        #expect(again.count == hello.count && again.suffix(64) == hello.suffix(64))
    }
}
