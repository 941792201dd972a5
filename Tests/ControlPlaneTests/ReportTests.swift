import ControlPlane
import TestSupport
import Testing

/// Bug reports and logs of sessions: what is in them, and what never is.
@Suite("Reports", .timeLimit(.minutes(4)))
struct ReportTests {
    private static let sdp = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:SECRET\r\na=fingerprint:sha-256 SE:CR:ET\r\n"

    @Test func aReportHasTheSessionsSignallingWithoutSecrets() async throws {
        try await withPlant { plant in
            let profile = JSONText(#"{"clientVersion":"2.0","sipPassword":"SECRET","custom":{"t":"SECRET"}}"#)
            let ann = Client(
                try await plant.plane.openSession(
                    ConnectRequest(
                        remoteAddress: "192.0.2.1:5000", custom: JSONText(#"{"t":"SECRET"}"#), bearerToken: "SECRET",
                        query: "token=SECRET", profile: profile)), plant)
            var request = ann.request("a", "cam?k=SECRET")
            request.sdp = Self.sdp
            request.custom = JSONText(#"{"x":"SECRET"}"#)
            var real = request
            real.name = "cam"
            plant.hooks.state.update { [real] in $0.publish = .change(real) }
            await ann.session.publish(request)
            let peer = try await plant.media.nextCall().peer
            try await ann.expectAnswer("a")
            plant.media.send(.connected(peer))
            try await ann.expect("a", .publishing)
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("\"SECRET\""))
            await ann.session.sendData(operationId: "op", payload: JSONText("\"SECRET\""))
            _ = await ann.next()
            plant.media.state.update { $0.statistics[peer] = PeerStatistics(packetsReceived: 77) }
            await ann.session.submitBugReport(text: "no picture; token=SECRET", type: "other")
            #expect(await ann.next() == .bugReport(fileName: "report-1"))
            let report = try #require(plant.store.state.value.reports.first)
            #expect(!report.contains("SECRET") && !report.contains(ann.session.authToken), "\(report)")
            for part in [
                "session: /192.0.2.1:5000/", "clientVersion: 2.0", "type: other", "    no picture; token=***",
                "received publishStream mediaSessionId=a name=cam?***", "    a=ice-pwd:***", "a=ice-ufrag:abcd",
                "sent setRemoteSDP mediaSessionId=a", "    ANSWER", "backend asked publishStream",
                "backend publishStream allowed with changes", "sent status PUBLISHING", "received 77 packets",
                "state mediaSessionId=a: ICE and DTLS are up", "PUBLISHING mediaSessionId=a name=cam",
                "received sendStreamEvent data mediaSessionId=a payload=(8 bytes)",
                "received sendData operationId=op payload=(8 bytes)", "audio=opus video=VP8",
            ] {
                #expect(report.contains(part), "\(part) is missing in \(report)")
            }
            #expect(!report.contains("Packets of"))
            #expect(plant.hooks.state.value.heard.last == "BugReportStatusEvent")
        }
    }

    @Test func withoutMediaTheReportWatchesThePackets() async throws {
        var configuration = ControlConfiguration()
        configuration.captureTime = .seconds(3)
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await bob.play("b")
            let packet = MediaCapture.Packet(
                age: .milliseconds(1_500), sequence: 4711, timestamp: 99, isMarked: true, isKeyFrameStart: false,
                payloadBytes: 1_100, header: [0x80, 0x60])
            plant.media.state.update { state in
                state.captures[publisher] = MediaCapture(
                    transports: [.init(isSecure: true, path: "192.0.2.1:5", silence: .milliseconds(20))],
                    tracks: [.init(title: "video VP8", packets: [packet])])
                state.statistics[player] = PeerStatistics(packetsSent: 1)
            }
            await bob.session.submitBugReport(text: "black", type: "no_media")
            try await plant.clock.sleeper(until: .seconds(3))
            plant.media.state.update { $0.statistics[player] = PeerStatistics(packetsSent: 31) }
            #expect(plant.store.state.value.reports.isEmpty)
            plant.clock.advance(by: .seconds(3))
            #expect(await bob.next() == .bugReport(fileName: "report-1"))
            let report = try #require(plant.store.state.value.reports.first)
            for part in [
                "== Packets of PLAYING mediaSessionId=b", "== Packets of the publisher of PLAYING mediaSessionId=b",
                "sent 1 packets", "sent 31 packets", "no media connection",
                "transport: dtls=up path=192.0.2.1:5 last heard=0.020 s ago",
                "track: video VP8, 1 packets, headers only", "    -1.500 seq=4711 ts=99 M +1100 8060",
            ] {
                #expect(report.contains(part), "\(part) is missing in \(report)")
            }
        }
    }

    @Test func onlySoManyReportsWatchPacketsAtATime() async throws {
        var configuration = ControlConfiguration()
        configuration.captures = 1
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            await ann.session.submitBugReport(text: "1", type: "no_media")
            try await plant.clock.sleeper(until: configuration.captureTime)
            await ann.session.submitBugReport(text: "2", type: "no_media")
            #expect(await ann.next() == .bugReport(fileName: "report-1"))
            #expect(plant.store.state.value.reports.first?.contains("too many reports look at packets now") == true)
            plant.clock.advance(by: configuration.captureTime)
            #expect(await ann.next() == .bugReport(fileName: "report-2"))
            await ann.session.submitBugReport(text: "3", type: "no_media")
            try await plant.clock.sleeper(until: configuration.captureTime * 2)
            plant.clock.advance(by: configuration.captureTime)
            #expect(await ann.next() == .bugReport(fileName: "report-3"))
            #expect(plant.store.state.value.reports.last?.contains("too many") == false)
        }
    }

    @Test func aReportThatCannotBeKeptIsAnError() async throws {
        var configuration = ControlConfiguration()
        configuration.storeTimeout = .seconds(5)
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            plant.store.state.update { $0.error = .diskFull }
            await ann.session.submitBugReport(text: "", type: "")
            #expect(
                await ann.next() == .error(info: "Bug report: Not kept: the server has too little free space"))
            let latch = Latch()
            plant.store.state.update { $0.hold = latch }
            await ann.session.submitBugReport(text: "", type: "")
            try await plant.clock.sleeper(until: .seconds(5))
            plant.clock.advance(by: .seconds(5))
            #expect(await ann.next() == .error(info: "Bug report: Not kept: the server cannot write the file"))
            latch.open()
            #expect(!plant.hooks.state.value.heard.contains("BugReportStatusEvent"))
            plant.hooks.state.update { $0.other = .refuse(code: 403, reason: "Forbidden") }
            await ann.session.submitBugReport(text: "", type: "")
            #expect(await ann.next() == .error(info: "Forbidden"))
        }
    }

    @Test func oneSessionHasSoManyReports() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            for number in 1...20 {
                await ann.session.submitBugReport(text: "", type: "")
                #expect(await ann.next() == .bugReport(fileName: "report-\(number)"))
            }
            await ann.session.submitBugReport(text: "", type: "")
            #expect(
                await ann.next() == .error(info: "Bug report: Not kept: too many bug reports of this session"))
            #expect(plant.store.state.value.reports.count == 20)
        }
    }

    @Test func theJournalIsBounded() async throws {
        var configuration = ControlConfiguration()
        configuration.journalBytes = 4_000
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            for number in 0..<500 {
                await ann.session.available(
                    mediaSessionId: "id-\(number)", name: String(repeating: "long\n", count: 1_000))
                _ = await ann.next()
            }
            await ann.session.submitBugReport(text: "", type: "")
            _ = await ann.next()
            let report = try #require(plant.store.state.value.reports.first)
            #expect(report.utf8.count < 6_000)
            #expect(report.contains("id-499") && !report.contains("id-0 "))
            #expect(report.contains("older entries had no room"))
        }
    }

    @Test func aWHIPClientHasNoJournal() async throws {
        try await withPlant { plant in
            let ann = try await plant.client(.whip)
            try await ann.publish("a")
            await ann.session.submitBugReport(text: "", type: "")
            #expect(await ann.next() == .bugReport(fileName: "report-1"))
            #expect(plant.store.state.value.reports.first?.contains("publishStream") == false)
        }
    }
}
