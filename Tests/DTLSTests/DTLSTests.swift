import DTLS
import Testing
import Wire

private struct Pair {
    let client: DTLSSession
    let server: DTLSSession

    init(profiles: [SRTPProfile] = [.aeadAES128GCM], lie: Bool = false) throws {
        let a = try DTLSCertificate.generate()
        let b = try DTLSCertificate.generate()
        let fingerprint = { (c: DTLSCertificate) in
            DTLSFingerprint(algorithm: "sha-256", hex: c.fingerprintSHA256).map { [$0] } ?? []
        }
        client = try DTLSSession(
            context: DTLSContext(certificate: a, profiles: SRTPProfile.allCases), role: .client,
            fingerprints: fingerprint(b), now: .zero)
        server = try DTLSSession(
            context: DTLSContext(certificate: b, profiles: profiles), role: .server,
            fingerprints: fingerprint(lie ? b : a), now: .zero)
    }

    /// Carries datagrams until both are quiet.
    func settle(drop: (Int) -> Bool = { _ in false }) {
        var count = 0
        var moved = true
        while moved {
            moved = false
            for (from, to) in [(client, server), (server, client)] {
                while let datagram = from.nextDatagram() {
                    moved = true
                    count += 1
                    if !drop(count) { to.handle(datagram.span.bytes, now: .zero) }
                }
            }
        }
    }
}

extension DTLSSession {
    var keys: SRTPKeyingMaterial? {
        if case .connected(let keys) = state { keys } else { nil }
    }
}

@Suite struct DTLSTests {
    @Test(arguments: SRTPProfile.allCases) func bothSidesExportTheSameKeys(profile: SRTPProfile) throws {
        let pair = try Pair(profiles: [profile])
        pair.client.start(now: .zero)
        pair.settle()
        let client = try #require(pair.client.keys)
        let server = try #require(pair.server.keys)
        #expect(client.profile == profile && server.profile == profile)
        #expect(client.localKey == server.remoteKey && client.remoteKey == server.localKey)
        #expect(client.localSalt == server.remoteSalt && client.localKey != client.remoteKey)
        #expect(client.localKey.count == profile.keyLength && client.localSalt.count == profile.saltLength)
    }

    @Test func wrongFingerprintFails() throws {
        let pair = try Pair(lie: true)
        pair.client.start(now: .zero)
        pair.settle()
        guard case .failed(.fingerprintMismatch) = pair.server.state else {
            Issue.record("server is \(pair.server.state)")
            return
        }
    }

    @Test func aLostHelloIsSentAgain() throws {
        let pair = try Pair()
        pair.client.start(now: .zero)
        pair.settle(drop: { $0 == 1 })
        #expect(pair.server.keys == nil)
        // OpenSSL's timers run in wall-clock time.
        let clock = ContinuousClock()
        let end = clock.now + .seconds(60)
        while pair.server.keys == nil, clock.now < end {
            pair.client.poll(now: .zero)
            pair.settle()
        }
        #expect(pair.server.keys != nil)
    }

    @Test func closeReachesTheOtherSide() throws {
        let pair = try Pair()
        pair.client.start(now: .zero)
        pair.settle()
        pair.client.close()
        pair.settle()
        guard case .closed = pair.server.state else {
            Issue.record("server is \(pair.server.state)")
            return
        }
    }

    @Test func noiseNeverCrashes() throws {
        var random = SeededRandom(seed: 3)
        for _ in 0..<50 {
            let pair = try Pair()
            pair.client.start(now: .zero)
            var hello = try #require(pair.client.nextDatagram())
            for _ in 0..<20 {
                hello[Int.random(in: 0..<hello.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                pair.server.handle(hello.span.bytes, now: .zero)
            }
        }
    }

    @Test(arguments: ["", "AB", "AB:CD", "GG:00"]) func badFingerprintsAreRefused(hex: String) {
        #expect(DTLSFingerprint(algorithm: "sha-256", hex: hex) == nil)
    }
}
