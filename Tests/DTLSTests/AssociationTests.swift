import COpenSSL
import DTLS
import Glibc
import Testing
import Wire

/// What an association does after its handshake, when OpenSSL is gone on our side and lives on the other.
@Suite struct AssociationTests {
    static let suites = ["ECDSA", "RSA"].flatMap { key in
        ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].map { "ECDHE-\(key)-\($0)" }
    }

    private struct Pair {
        // Key generation takes long enough to do it once.
        private static let rsa = Result { try DTLSCertificate.rsa() }
        let session: DTLSSession
        let peer: OpenSSLPeer

        init(sessionRole: DTLSSession.Role = .server, suite: String = "ECDHE-ECDSA-AES128-GCM-SHA256") throws {
            let certificate = try suite.contains("RSA") ? Self.rsa.get() : DTLSCertificate.generate()
            let context = try DTLSContext(certificate: certificate, profiles: SRTPProfile.allCases)
            let fingerprint = try #require(
                DTLSFingerprint(algorithm: "sha-256", hex: certificate.fingerprintSHA256))
            session = try DTLSSession(context: context, role: sessionRole, fingerprints: [fingerprint], now: .zero)
            peer = try OpenSSLPeer(context: context, isClient: sessionRole == .server, suites: suite)
        }

        func takeFromSession() -> [[UInt8]] {
            var out: [[UInt8]] = []
            while let datagram = session.nextDatagram() { out.append(datagram) }
            return out
        }

        func deliver(_ datagrams: [[UInt8]], at time: Instant = .zero) {
            for datagram in datagrams { session.handle(datagram.span.bytes, now: time) }
        }

        func deliverToPeer(_ datagrams: [[UInt8]]) {
            peer.queue.incoming += datagrams
            peer.turn()
        }

        /// Until the session is connected; its last flight is not delivered.
        func connectSession() -> [[UInt8]] {
            session.start(now: .zero)
            peer.turn()
            for _ in 0..<10 {
                deliver(peer.takeSent())
                let flight = takeFromSession()
                if session.keys != nil { return flight }
                deliverToPeer(flight)
            }
            return []
        }

        func connect() throws {
            deliverToPeer(connectSession())
            try #require(session.keys != nil && peer.isConnected, "session is \(session.state)")
        }
    }

    private static func number(of state: DTLSSession.State) -> Int {
        switch state {
        case .handshaking: 0
        case .connected: 1
        case .closed: 2
        case .failed: 3
        }
    }

    @Test(arguments: suites, [DTLSSession.Role.client, .server])
    func goodbyesAreUnderstoodBothWays(suite: String, role: DTLSSession.Role) throws {
        let heard = try Pair(sessionRole: role, suite: suite)
        try heard.connect()
        #expect(heard.peer.suite == suite)
        heard.peer.sendCloseNotify()
        heard.deliver(heard.peer.takeSent())
        #expect(Self.number(of: heard.session.state) == 2)

        let said = try Pair(sessionRole: role, suite: suite)
        try said.connect()
        #expect(!said.peer.hasHeardGoodbye)
        said.session.close()
        said.deliverToPeer(said.takeFromSession())
        #expect(said.peer.hasHeardGoodbye)
        said.session.close()
        #expect(said.session.nextDatagram() == nil)
    }

    @Test func aFatalAlertFailsTheSessionAndAWarningDoesNot() throws {
        let pair = try Pair()
        try pair.connect()
        let keys = try #require(try pair.peer.recordKeys())
        let noRenegotiation = try #require(
            keys.seal(type: 21, plaintext: [1, 100], sequence: 7, nonce: 7, writer: .client))
        pair.deliver([noRenegotiation])
        #expect(pair.session.keys != nil)
        let handshakeFailure = try #require(
            keys.seal(type: 21, plaintext: [2, 40], sequence: 8, nonce: 8, writer: .client))
        pair.deliver([handshakeFailure])
        guard case .failed(.alert(40)) = pair.session.state else {
            Issue.record("session is \(pair.session.state)")
            return
        }
    }

    @Test(arguments: suites.prefix(3)) func forgedRecordsAreIgnored(suite: String) throws {
        let pair = try Pair(suite: suite)
        try pair.connect()
        pair.peer.sendCloseNotify()
        let goodbye = try #require(pair.peer.takeSent().first)
        for place in goodbye.indices {
            var forged = goodbye
            forged[place] ^= 0x40
            pair.deliver([forged])
        }
        // An alert that is not protected could come from anybody.
        pair.deliver([[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0], [21, 0xfe, 0xfd, 0, 1]])
        // A right record behind a forged one: nothing of such a datagram is read on.
        var first = goodbye
        first[first.count - 1] ^= 1
        pair.deliver([first + goodbye])
        #expect(pair.session.keys != nil)
        pair.deliver([goodbye])
        #expect(Self.number(of: pair.session.state) == 2)
    }

    @Test func aGoodbyeBehindOtherRecordsIsFound() throws {
        let pair = try Pair()
        try pair.connect()
        pair.peer.sendApplicationData([1, 2, 3])
        pair.peer.sendCloseNotify()
        let datagrams = pair.peer.takeSent()
        #expect(datagrams.count == 2)
        pair.deliver([Array(datagrams.joined())])
        #expect(Self.number(of: pair.session.state) == 2)
    }

    @Test func aPeerThatLostTheLastFlightGetsItAgain() throws {
        let pair = try Pair()
        let lost = pair.connectSession()
        try #require(!lost.isEmpty && !pair.peer.isConnected)
        pair.peer.retransmit()
        let again = pair.peer.takeSent()
        try #require(!again.isEmpty)
        pair.deliver(again)
        let answer = pair.takeFromSession()
        #expect(answer == lost)
        // Replayed: the record has been seen.
        pair.deliver(again, at: .zero + .seconds(1))
        #expect(pair.session.nextDatagram() == nil)
        // Repeated by the peer itself: not before its time.
        pair.peer.retransmit()
        pair.deliver(pair.peer.takeSent(), at: .zero + .milliseconds(5))
        #expect(pair.session.nextDatagram() == nil)
        pair.peer.retransmit()
        pair.deliver(pair.peer.takeSent(), at: .zero + .milliseconds(50))
        #expect(pair.takeFromSession() == lost)
        pair.deliverToPeer(answer)
        #expect(pair.peer.isConnected)
        // The same bytes once more do no harm.
        pair.deliverToPeer(lost)
        pair.session.close()
        pair.deliverToPeer(pair.takeFromSession())
        #expect(pair.peer.hasHeardGoodbye)
    }

    @Test func aClientHasNoLastFlight() throws {
        let pair = try Pair(sessionRole: .client)
        try pair.connect()
        let keys = try #require(try pair.peer.recordKeys())
        let finished = [UInt8(20), 0, 0, 12, 0, 9, 0, 0, 0, 0, 0, 12] + [UInt8](repeating: 1, count: 12)
        let record = try #require(keys.seal(type: 22, plaintext: finished, sequence: 5, nonce: 5, writer: .server))
        pair.deliver([record])
        #expect(pair.session.nextDatagram() == nil && pair.session.keys != nil)
    }

    @Test func goodbyeIsNumberedAboveRepeatedFlights() throws {
        let pair = try Pair(sessionRole: .client)
        pair.session.start(now: .zero)
        pair.deliverToPeer(pair.takeFromSession())
        pair.deliver(pair.peer.takeSent())
        _ = pair.takeFromSession()
        // OpenSSL's timers run in wall-clock time. Both repeats arrive, each with a number of its own.
        let clock = ContinuousClock()
        let end = clock.now + .seconds(60)
        var flights: [[[UInt8]]] = []
        while flights.count < 2, clock.now < end {
            pair.session.poll(now: .zero)
            let flight = pair.takeFromSession()
            if !flight.isEmpty { flights.append(flight) }
        }
        try #require(flights.count == 2)
        pair.deliverToPeer(flights[0])
        pair.deliverToPeer(flights[1])
        pair.deliver(pair.peer.takeSent())
        try #require(pair.session.keys != nil && pair.peer.isConnected)
        pair.session.close()
        pair.deliverToPeer(pair.takeFromSession())
        #expect(pair.peer.hasHeardGoodbye)
    }

    @Test func noSessionCanBeResumed() throws {
        let pair = try Pair()
        try pair.connect()
        #expect(!pair.peer.canResume)
    }

    @Test func suitesWithoutAEADAreRefused() throws {
        let pair = try Pair(suite: "ECDHE-ECDSA-AES128-SHA")
        _ = pair.connectSession()
        #expect(Self.number(of: pair.session.state) == 3)
    }

    /// Resident, in a process of its own where other tests' memory does not count: what 1,000 handshakes leave behind.
    @Test func aThousandSessionsAreSmall() async {
        await #expect(processExitsWith: .success) {
            let certificate = try DTLSCertificate.generate()
            let context = try DTLSContext(certificate: certificate, profiles: SRTPProfile.allCases)
            let fingerprints = [DTLSFingerprint(algorithm: "sha-256", hex: certificate.fingerprintSHA256)]
                .compactMap { $0 }
            var sessions: [DTLSSession] = []
            sessions.reserveCapacity(1_100)
            func connect() throws {
                let session = try DTLSSession(context: context, role: .server, fingerprints: fingerprints, now: .zero)
                let peer = try OpenSSLPeer(context: context, isClient: true)
                peer.turn()
                for _ in 0..<10 where session.keys == nil {
                    for datagram in peer.takeSent() { session.handle(datagram.span.bytes, now: .zero) }
                    while let datagram = session.nextDatagram() { peer.queue.incoming.append(datagram) }
                    peer.turn()
                }
                try #require(session.keys != nil)
                sessions.append(session)
            }
            // The first ones make OpenSSL and the heap take what they keep.
            for _ in 0..<100 { try connect() }
            let before = try #require(residentBytes())
            for _ in 0..<1_000 { try connect() }
            let bytes = (try #require(residentBytes()) - before) / 1_000
            // 72 KiB with an SSL object in each.
            #expect(bytes < 4_096 && sessions.count == 1_100, "\(bytes) bytes a session")
        }
    }
}

/// Resident memory of this process, from the second field of /proc/self/statm.
private func residentBytes() -> Int? {
    guard let file = fopen("/proc/self/statm", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, 128, file) != nil else { return nil }
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = text.split(separator: " ")
    return fields.count > 1 ? Int(fields[1]).map { $0 * Int(getpagesize()) } : nil
}
